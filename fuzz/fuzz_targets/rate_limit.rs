//! Feeds `checks/rate_limit.rs`.

#![no_main]
#![allow(dead_code, reason = "the library uses more of it")]

use libfuzzer_sys::fuzz_target;
use mcp_guard::{call, config, matcher, refusal, revision, units};

/// The library's own, without its layer: that nobody may look at an allowance from outside is as it should be.
#[path = "../../mcp-guard/src/rate_limit"]
mod rate_limit {
    mod allowance;
    mod bid;
    #[path = "../../../fuzz/checks/rate_limit.rs"]
    pub(crate) mod check;
    mod decision;
    mod key;
    mod limiter;
    mod policy;
    mod rules;
    mod table;

    use decision::Decision;
    use limiter::RateLimiter;
    use policy::{KeyPart, RateLimitPolicy};
    use rules::RateLimits;
}

fuzz_target!(|data: &[u8]| rate_limit::check::check(data));
