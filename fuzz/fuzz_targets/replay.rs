//! Feeds `checks/replay.rs`.

#![no_main]
#![allow(dead_code, reason = "the sidecar uses more of it")]

use libfuzzer_sys::fuzz_target;

/// The sidecar's own, without answers and requests.
#[path = "../../mcp-guard-sidecar/src/resume"]
mod resume {
    #[path = "../../../fuzz/checks/replay.rs"]
    pub(crate) mod check;
    mod stream;
    mod table;
}

fuzz_target!(|data: &[u8]| resume::check::check(data));
