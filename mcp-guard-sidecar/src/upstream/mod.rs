//! One file or folder per kind of node, and what they share.

pub mod balance;
pub mod dial;
pub mod eras;
pub mod from_config;
pub mod http;
mod line_rate;
pub mod network;
mod patience;
pub mod sessions;
pub mod socket;
pub mod sse;
pub mod stdio;
pub mod web_socket;
