//! One file per kind of node, and what they share.

pub mod http;
