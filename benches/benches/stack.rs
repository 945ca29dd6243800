//! The whole guard around a service in memory: how long a call takes beside its HTTP, and what it allocates.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use divan::{AllocProfiler, Bencher};
use mcp_guard_benches::in_memory::{self, InMemory, InMemoryService, small_call};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench]
fn no_guard(bencher: Bencher<'_, '_>) {
    measure(bencher, &in_memory::unguarded().unwrap());
}

#[divan::bench]
fn all_concerns(bencher: Bencher<'_, '_>) {
    measure(bencher, &in_memory::guarded().unwrap());
}

/// What a Rust server has that wraps itself.
#[divan::bench]
fn all_concerns_layered(bencher: Bencher<'_, '_>) {
    measure(bencher, &in_memory::layered().unwrap());
}

/// One `tools/call` and its answer, read to the end.
fn measure(bencher: Bencher<'_, '_>, service: &InMemory<impl InMemoryService>) {
    bencher.with_inputs(small_call).bench_local_values(|request| service.call(request));
}
