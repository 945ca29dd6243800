//! Feeds `checks/web_socket.rs`.

#![no_main]
#![allow(dead_code, reason = "the sidecar uses more of it")]

use libfuzzer_sys::fuzz_target;

/// The sidecar's own, without the rest of the sidecar.
#[path = "../../mcp-guard-sidecar/src/frames.rs"]
mod frames;

#[path = "../checks/web_socket.rs"]
mod check;
#[path = "../checks/pieces.rs"]
mod pieces;

use frames::{bounds, next, write};

fuzz_target!(|data: &[u8]| check::check(data));
