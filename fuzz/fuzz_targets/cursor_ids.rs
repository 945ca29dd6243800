//! Feeds `checks/cursor_ids.rs`.

#![no_main]
#![allow(dead_code, reason = "the library uses more of it")]

use libfuzzer_sys::fuzz_target;
use mcp_guard::{call, limits, message, refusal, revision, session};

/// The library's own, without its services.
#[path = "../../mcp-guard/src/middleware"]
mod middleware {
    mod agreement;
    #[path = "../../../fuzz/checks/cursor_ids.rs"]
    pub(crate) mod check;
    mod edge;
    mod fields;
    mod headers;
}

fuzz_target!(|data: &[u8]| middleware::check::check(data));
