//! What it costs to ask the rate limits about a call, with 100,000 callers in their tables.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use divan::Bencher;
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::middleware::clock;
use mcp_guard::rate_limit::{Decision, KeyPart, RateLimitPolicy, RateLimiter, RateLimits};
use mcp_guard::revision::Revision;

fn main() {
    divan::main();
}

const CALLERS: u32 = 100_000;

/// Rules on the client, and on client and tool, as in the default configuration.
#[divan::bench(threads = [1, 2])]
fn two_rules_100k_keys(bencher: Bencher<'_, '_>) {
    let rule = |name: &str, key: &[KeyPart]| RateLimitPolicy::new(name, key, "1000000/s".parse().unwrap()).unwrap();
    let rules = [rule("per-client", &[KeyPart::Client]), rule("per-tool", &[KeyPart::Client, KeyPart::Tool])];
    let start = clock::now();
    let limiter = RateLimiter::new(&RateLimits::new(rules.into()).unwrap(), start);
    for number in 0..CALLERS {
        assert!(matches!(limiter.decide(&call(number), NonZeroU32::MIN, start), Decision::Allow(_)));
    }
    bencher
        .with_inputs(|| call(fastrand::u32(0..CALLERS)))
        .bench_refs(|call| limiter.decide(call, NonZeroU32::MIN, clock::now()));
}

/// A call of one tool from the address of caller `number`.
fn call(number: u32) -> Call {
    let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), Revision::V2025_11_25);
    call.target = Some("echo".into());
    call.client = Some(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)));
    call
}
