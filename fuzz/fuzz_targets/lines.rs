//! Feeds `checks/lines.rs`.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// The sidecar's own, without the rest of the sidecar.
#[path = "../../mcp-guard-sidecar/src/lines.rs"]
mod lines;

#[path = "../checks/lines.rs"]
mod check;
#[path = "../checks/pieces.rs"]
mod pieces;

use lines::{NoLine, read_cut_line, read_line};

fuzz_target!(|data: &[u8]| check::check(data));
