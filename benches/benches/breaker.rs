//! What it costs to ask the breakers of node and tool about a call, and to tell them how it ended.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use divan::Bencher;
use mcp_guard::breaker::{Ask, BreakerPolicy, NodeBreaker};
use mcp_guard::middleware::clock;
use mcp_guard::outcome::Outcome;

fn main() {
    divan::main();
}

/// By the number of tools that have a breaker of their own.
#[divan::bench(args = [1, 1_000])]
fn admit_and_settle(bencher: Bencher<'_, '_>, tools: usize) {
    let tools: Vec<String> = (0..tools).map(|number| format!("tool_{number}")).collect();
    let mut breaker = NodeBreaker::new(BreakerPolicy::default(), clock::now());
    let mut next = tools.iter().cycle();
    bencher.bench_local(|| {
        let ask = Ask { tool: next.next().map(String::as_str), is_safe: false };
        let pass = breaker.admit(ask, clock::now()).unwrap();
        breaker.settle(pass, Outcome::Ok, clock::now());
    });
}
