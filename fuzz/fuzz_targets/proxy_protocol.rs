//! Feeds `checks/proxy_protocol.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// The sidecar's own, without the rest of the sidecar.
#[path = "../../mcp-guard-sidecar/src/proxy_protocol.rs"]
mod proxy_protocol;

#[path = "../checks/proxy_protocol.rs"]
mod check;
#[path = "../checks/pieces.rs"]
mod pieces;

use proxy_protocol::read;

fuzz_target!(|data: &[u8]| check::check(data));
