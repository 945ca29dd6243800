//! One file or folder per kind of node, and what they share.

pub mod http;
pub mod stdio;
