//! One module for each kind of node, and what they share.

pub mod http;
pub mod stdio;
