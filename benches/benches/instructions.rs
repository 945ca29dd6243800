//! Instructions of the hot pieces, and of a whole call, counted by callgrind: the same on a busy machine as on a quiet one.
//!
//! `.ci/instructions` compares them with `benches/instructions.txt`.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]
#![expect(missing_docs, reason = "made by the macros of gungraun")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Instant;

use bytes::Bytes;
use gungraun::{library_benchmark, library_benchmark_group, main};
use http::Request;
use http_body_util::Full;
use mcp_guard::breaker::{Ask, BreakerPolicy, NodeBreaker};
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::json::Tape;
use mcp_guard::message::{self, Body, Fault, Reading};
use mcp_guard::middleware::clock;
use mcp_guard::outcome::Outcome;
use mcp_guard::queue::{NodeQueue, QueuePolicy};
use mcp_guard::rate_limit::{Decision, KeyPart, RateLimitPolicy, RateLimiter, RateLimits};
use mcp_guard::reply::Reply;
use mcp_guard::revision::Revision;
use mcp_guard::validation::ToolSchema;
use mcp_guard_benches::in_memory::{self, InMemory, InMemoryService, small_call, traced_call};

const MESSAGE: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"text":"The quick brown fox jumps over the lazy dog","times":1}}}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"The quick brown fox jumps over the lazy dog"}],"isError":false}}"#;
const SCHEMA: &str =
    r#"{"type":"object","properties":{"text":{"type":"string"},"times":{"type":"integer"}},"required":["text"]}"#;
const ARGUMENTS: &str = r#"{"text":"The quick brown fox jumps over the lazy dog","times":1}"#;

fn call_of(number: u32) -> Call {
    let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), Revision::V2025_11_25);
    call.id = Some("7".into());
    call.target = Some("echo".into());
    call.client = Some(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)));
    call
}

#[library_benchmark]
fn message_read() -> Result<Body, Fault> {
    message::read(black_box(MESSAGE.as_bytes()), Reading { revision: None, depth_max: 64, batch_max: 64 })
}

#[library_benchmark]
#[bench::small(call_of(0))]
fn reply_read(call: Call) -> (Reply, Call) {
    (Reply::read(black_box(ANSWER.as_bytes()), &call), call)
}

fn limiter() -> (RateLimiter, Call, Instant) {
    let rule = |name: &str, key: &[KeyPart]| RateLimitPolicy::new(name, key, "1000000/s".parse().unwrap()).unwrap();
    let rules = [rule("per-client", &[KeyPart::Client]), rule("per-tool", &[KeyPart::Client, KeyPart::Tool])];
    let start = clock::now();
    let limiter = RateLimiter::new(&RateLimits::new(rules.into()).unwrap(), start);
    for number in 0..1_000 {
        assert!(matches!(limiter.decide(&call_of(number), NonZeroU32::MIN, start), Decision::Allow(_)));
    }
    (limiter, call_of(0), start)
}

#[library_benchmark]
#[bench::two_rules(limiter())]
fn rate_limit((limiter, call, now): (RateLimiter, Call, Instant)) -> (Decision, RateLimiter, Call) {
    (limiter.decide(&call, NonZeroU32::MIN, now), limiter, call)
}

fn arguments() -> (ToolSchema, Tape) {
    (ToolSchema::compile(SCHEMA).unwrap(), Tape::read(ARGUMENTS, 64).unwrap())
}

#[library_benchmark]
#[bench::small(arguments())]
fn validation((schema, tape): (ToolSchema, Tape)) -> (bool, ToolSchema, Tape) {
    (schema.check(tape.root(black_box(ARGUMENTS))).is_empty(), schema, tape)
}

fn breaker() -> (NodeBreaker, Instant) {
    let now = clock::now();
    let mut breaker = NodeBreaker::new(BreakerPolicy::default(), now);
    let pass = breaker.admit(Ask { tool: Some("echo"), is_safe: false }, now).unwrap();
    breaker.settle(pass, Outcome::Ok, now);
    (breaker, now)
}

#[library_benchmark]
#[bench::node_and_tool(breaker())]
fn breaker_admit_and_settle((mut breaker, now): (NodeBreaker, Instant)) -> NodeBreaker {
    let pass = breaker.admit(Ask { tool: Some("echo"), is_safe: false }, now).unwrap();
    breaker.settle(pass, Outcome::Ok, now);
    breaker
}

fn queue() -> (NodeQueue<()>, Call, Instant) {
    let (mut queue, call, now) = (NodeQueue::new(QueuePolicy::default(), &[]), call_of(0), clock::now());
    let place = queue.admit(&call, now).unwrap();
    queue.finish(place, Some((&call, Outcome::Ok)), now);
    (queue, call, now)
}

#[library_benchmark]
#[bench::empty(queue())]
fn queue_admit_and_finish((mut queue, call, now): (NodeQueue<()>, Call, Instant)) -> (NodeQueue<()>, Call) {
    let place = queue.admit(&call, now).unwrap();
    queue.finish(place, Some((&call, Outcome::Ok)), now);
    (queue, call)
}

type Next<S> = (InMemory<S>, Request<Full<Bytes>>);

/// What the next call costs, once the first ones have set up what stays.
fn warm<S: InMemoryService>(service: InMemory<S>) -> Next<S> {
    warm_for(small_call, service)
}

fn warm_for<S: InMemoryService>(request: fn() -> Request<Full<Bytes>>, service: InMemory<S>) -> Next<S> {
    for _ in 0..100 {
        service.call(request());
    }
    (service, request())
}

#[library_benchmark]
#[bench::none(warm(in_memory::unguarded().unwrap()))]
#[bench::layered(warm(in_memory::layered().unwrap()))]
#[bench::all_concerns(warm(in_memory::guarded().unwrap()))]
#[bench::not_sampled(warm(in_memory::with_spans(0.0).unwrap()))]
#[bench::sampled(warm(in_memory::with_spans(1.0).unwrap()))]
#[bench::traced(warm_for(traced_call, in_memory::guarded().unwrap()))]
fn call<S: InMemoryService>((service, request): Next<S>) -> (InMemory<S>, Bytes) {
    let answer = service.call(request);
    (service, answer)
}

library_benchmark_group!(
    name = pieces,
    benchmarks = [message_read, reply_read, rate_limit, validation, breaker_admit_and_settle, queue_admit_and_finish]
);
library_benchmark_group!(name = whole, benchmarks = call);
main!(library_benchmark_groups = [pieces, whole]);
