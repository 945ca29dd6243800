//! One file or folder per kind of node, and what they share.

pub mod from_config;
pub mod http;
mod patience;
pub mod stdio;
