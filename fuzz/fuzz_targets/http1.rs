//! Feeds `checks/http1.rs`.

#![no_main]
#![allow(dead_code, reason = "the sidecar uses more of it")]

use libfuzzer_sys::fuzz_target;

// The sidecar's own, without its connections.
#[path = "../../mcp-guard-sidecar/src/http1/fault.rs"]
mod fault;
#[path = "../../mcp-guard-sidecar/src/http1/framing.rs"]
mod framing;
#[path = "../../mcp-guard-sidecar/src/http1/head.rs"]
mod head;

#[path = "../checks/http1.rs"]
mod check;

use fault::Http1Error;
use framing::{Decoder, Framing};

fuzz_target!(|data: &[u8]| check::check(data));
