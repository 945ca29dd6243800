//! The whole guard around a service in memory: how long a call takes beside its HTTP, and what it allocates.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use bytes::Bytes;
use divan::{AllocProfiler, Bencher};
use http::Request;
use http_body_util::Full;
use mcp_guard_benches::in_memory::{self, InMemory, InMemoryService, small_call, traced_call};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

#[divan::bench]
fn no_guard(bencher: Bencher<'_, '_>) {
    measure(bencher, &in_memory::unguarded().unwrap(), small_call);
}

#[divan::bench]
fn all_concerns(bencher: Bencher<'_, '_>) {
    measure(bencher, &in_memory::guarded().unwrap(), small_call);
}

/// The same with a caller's trace context, and so a span context and a request id of its own to pass on.
#[divan::bench]
fn all_concerns_traced(bencher: Bencher<'_, '_>) {
    measure(bencher, &in_memory::guarded().unwrap(), traced_call);
}

/// What a Rust server has that wraps itself.
#[divan::bench]
fn all_concerns_layered(bencher: Bencher<'_, '_>) {
    measure(bencher, &in_memory::layered().unwrap(), small_call);
}

/// One `tools/call` and its answer, read to the end.
fn measure(bencher: Bencher<'_, '_>, service: &InMemory<impl InMemoryService>, call: fn() -> Request<Full<Bytes>>) {
    bencher.with_inputs(call).bench_local_values(|request| service.call(request));
}
