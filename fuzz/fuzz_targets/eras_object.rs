//! Feeds `checks/eras_object.rs`.

#![no_main]
#![allow(dead_code, reason = "the sidecar uses more of it")]

use libfuzzer_sys::fuzz_target;

/// The sidecar's own, without its nodes.
#[path = "../../mcp-guard-sidecar/src/upstream"]
mod upstream {
    pub(crate) mod eras {
        #[path = "../../../../fuzz/checks/eras_object.rs"]
        pub(crate) mod check;
        mod message;
        mod object;
        mod params;
    }
}

fuzz_target!(|data: &[u8]| upstream::eras::check::check(data));
