//! What the tests of the whole share: the guard as a real process, and a client that can misbehave.

pub mod certificates;
mod client;
pub mod config_reference;
pub mod example;
pub mod peers;
mod process;
mod session;
pub mod stdio;
pub mod upstream;
mod wire;

pub use client::{Reply, call_tool, post, raw, request, send, send_to};
pub use process::{Guard, free_address, kill, patiently};
pub use session::Session;
pub use wire::Wire;
