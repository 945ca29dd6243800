//! Streams of events, which must come out as they go in: each event at once, whole, and until it is over.

use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Wire, call_tool, patiently};
use serde_json::{Value, json};

use crate::{LEGACY, guard, http, post, stateless_call, with};

fn progress(n: u32) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": n}})
}

fn result() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "result": {"content": []}})
}

fn event(data: &Value) -> Option<Vec<u8>> {
    Some(format!("data: {data}\n\n").into_bytes())
}

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    let (upstream, events) = Upstream::streaming("tools/call");
    let guard = guard(&upstream);
    let mut wire = Wire::connect(guard.listen);
    wire.write(post(&call_tool(1, "echo", json!({}))));
    let head = wire.head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    for n in 1..=3 {
        events.send(&progress(n));
        assert_eq!(wire.chunk(), event(&progress(n)));
    }
    events.send(&result());
    assert_eq!(wire.chunk(), event(&result()));
    drop(events);
    assert_eq!(wire.chunk(), None);
    wire.write(post(&call_tool(2, "echo", json!({}))));
    assert_eq!(wire.message().status, 200, "the connection goes on");
}

#[test]
fn an_event_in_pieces_comes_whole_and_a_comment_keeps_the_stream_alive() {
    let (upstream, events) = Upstream::streaming("tools/call");
    let guard = guard(&upstream);
    let mut wire = Wire::connect(guard.listen);
    wire.write(post(&call_tool(1, "echo", json!({}))));
    wire.head();
    events.send_text(": still here\n\n");
    assert_eq!(wire.chunk().unwrap(), b": still here\n\n");
    let text = format!("id: 7\nevent: message\ndata: {}\n\n", result());
    let (one, other) = text.split_at(20);
    events.send_text(one);
    events.send_text(other);
    assert_eq!(String::from_utf8(wire.chunk().unwrap()).unwrap(), text);
}

#[test]
fn a_large_event_comes_whole() {
    let (upstream, events) = Upstream::streaming("tools/call");
    let guard = guard(&upstream);
    let mut wire = Wire::connect(guard.listen);
    wire.write(post(&call_tool(1, "echo", json!({}))));
    let large = json!({"jsonrpc": "2.0", "id": 1, "result": {"content": [], "text": "x".repeat(4 << 20)}});
    events.send(&large);
    drop(events);
    let body = wire.message().body;
    assert!(body == event(&large).unwrap(), "{} bytes", body.len());
}

#[test]
fn an_event_over_the_limit_ends_the_stream_with_a_word() {
    let (upstream, events) = Upstream::streaming("tools/call");
    let guard = with(json!({"url": upstream.url()}), json!({"limits": {"response": "64KiB"}}));
    let mut wire = Wire::connect(guard.listen);
    wire.write(post(&call_tool(1, "echo", json!({}))));
    events.send(&json!({"x": "x".repeat(1 << 20)}));
    let reply = wire.message();
    assert_eq!(reply.reason().as_deref(), Some("upstream_failed"), "{}", reply.text());
    assert_eq!(reply.json()["id"], 1);
    patiently("the node is let go", || events.is_closed());
}

#[test]
fn a_stream_that_breaks_off_is_told_to_who_waits_for_the_answer() {
    let (upstream, events) = Upstream::streaming("tools/call");
    let guard = guard(&upstream);
    let mut wire = Wire::connect(guard.listen);
    wire.write(post(&call_tool(1, "echo", json!({}))));
    wire.head();
    events.send(&progress(1));
    assert_eq!(wire.chunk(), event(&progress(1)));
    drop(upstream);
    let told = String::from_utf8(wire.chunk().unwrap()).unwrap();
    assert!(told.contains("upstream_failed"), "{told}");
    assert_eq!(wire.chunk(), None);
}

#[test]
fn a_client_that_leaves_a_stream_ends_it() {
    let (upstream, events) = Upstream::streaming("tools/call");
    let guard = guard(&upstream);
    let mut wire = Wire::connect(guard.listen);
    wire.write(stateless_call("echo"));
    wire.head();
    events.send(&progress(1));
    assert_eq!(wire.chunk(), event(&progress(1)));
    assert_eq!(guard.metric("mcp_guard_in_flight"), 1.0);
    drop(wire);
    patiently("the node's connection is closed", || events.is_closed());
    patiently("its place is free", || guard.metric("mcp_guard_in_flight") == 0.0);
}

#[test]
fn the_servers_own_stream_runs_until_the_guard_drains() {
    let (upstream, events) = Upstream::streaming("GET");
    let mut guard = guard(&upstream);
    let mut wire = Wire::connect(guard.listen);
    let headers = [("accept", "text/event-stream"), ("mcp-session-id", "one"), LEGACY[2]];
    wire.write(http("GET", &headers, ""));
    assert_eq!(wire.head().status, 200);
    let asked = json!({"jsonrpc": "2.0", "id": 9, "method": "ping"});
    events.send(&asked);
    // With an id of the guard's before it, since the node gives none.
    assert!(
        wire.chunk().is_some_and(|chunk| chunk.starts_with(b"id: guard-") && chunk.ends_with(&event(&asked).unwrap()))
    );
    assert_eq!(guard.metric("mcp_guard_in_flight"), 0.0, "a stream that never ends holds no place");
    guard.signal("TERM");
    assert_eq!(wire.chunk(), None, "it ends as a stream should, so that the client opens another");
    assert_eq!(guard.wait(), Some(0));
    assert!(events.is_closed());
}
