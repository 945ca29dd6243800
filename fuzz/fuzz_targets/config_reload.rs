//! Feeds `checks/config_reload.rs`.

#![no_main]

extern crate self as mcp_guard_sidecar;

use libfuzzer_sys::fuzz_target;

/// The sidecar's own, without the rest of the sidecar.
#[path = "../../mcp-guard-sidecar/src/config/mod.rs"]
pub mod config;

#[path = "../checks/config_reload.rs"]
mod check;

fuzz_target!(|data: &[u8]| check::check(data));
