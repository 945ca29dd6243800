//! Feeds `checks/hand_over.rs`.

#![no_main]
#![allow(dead_code, reason = "the sidecar uses more of it")]

use libfuzzer_sys::fuzz_target;

/// The sidecar's own, without its processes.
#[path = "../../mcp-guard-sidecar/src/hand_over"]
mod hand_over {
    #[path = "../../../fuzz/checks/hand_over.rs"]
    pub(crate) mod check;
    mod message;
}

#[path = "../../mcp-guard-sidecar/src/upstream"]
mod upstream {
    pub(crate) mod sessions {
        mod record;

        pub(crate) use record::Record;
    }
}

#[path = "../../mcp-guard-sidecar/src/lines.rs"]
mod lines;
#[path = "../checks/pieces.rs"]
mod pieces;

fuzz_target!(|data: &[u8]| hand_over::check::check(data));
