//! All concerns together, end to end: what one learns the others use, and none gets in another's way.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mcp_guard_tests::upstream::{Message, Upstream, broken, events, rpc};
use mcp_guard_tests::{Guard, Reply, Wire, call_tool, free_address, patiently, request, send};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

fn guarded(upstream: &Upstream, guard: Value) -> Guard {
    let config = json!({"version": 1, "upstreams": [{"url": upstream.url()}], "guard": guard});
    Guard::with_config(PROGRAM, &config.to_string())
}

fn call(guard: &Guard, tool: &str, arguments: Value) -> Reply {
    send(guard.listen, &[], call_tool(1, tool, arguments).to_string())
}

/// The methods that arrived, in order.
fn methods(upstream: &Upstream) -> Vec<String> {
    upstream.seen().iter().map(|(_, message)| message["method"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A list of one tool, `move`, that wants a number called `axis`.
fn tools(axis: &str) -> Value {
    let schema = json!({"type": "object", "properties": {axis: {"type": "number"}}, "required": [axis]});
    json!({"tools": [{"name": "move", "inputSchema": schema}]})
}

#[test]
fn the_guard_learns_the_tools_by_itself_before_the_first_call() {
    let upstream = Upstream::start();
    let guard = guarded(&upstream, json!({}));
    let reply = call(&guard, "add", json!({"a": 1}));
    assert_eq!(reply.reason().as_deref(), Some("invalid_arguments"), "{}", reply.text());
    assert_eq!(methods(&upstream), ["tools/list"]);
    assert_eq!(call(&guard, "add", json!({"a": 1, "b": 2})).reason(), None);
    assert_eq!(methods(&upstream), ["tools/list", "tools/call"], "one list serves all calls");
}

#[test]
fn all_pages_of_the_list_are_learned() {
    let upstream = Upstream::scripted(|message| {
        let page = match message.json["params"]["cursor"].as_str() {
            None => json!({"tools": [], "nextCursor": "2"}),
            Some(_) => tools("x"),
        };
        (message.method() == "tools/list").then(|| rpc(&message.result(page)))
    });
    let guard = guarded(&upstream, json!({}));
    assert_eq!(call(&guard, "move", json!({})).reason().as_deref(), Some("invalid_arguments"));
    assert_eq!(methods(&upstream), ["tools/list", "tools/list"]);
}

#[test]
fn a_list_that_passes_by_is_learned_from() {
    let upstream = Upstream::start();
    let guard = guarded(&upstream, json!({}));
    send(guard.listen, &[], request(1, "tools/list", json!({})).to_string());
    assert_eq!(call(&guard, "add", json!({})).reason().as_deref(), Some("invalid_arguments"));
    assert_eq!(methods(&upstream), ["tools/list"]);
}

/// An upstream whose tool wants `x` in its first list and `y` in later ones, and says so in the answer to a call.
fn changing(announce: impl Fn(&Message) -> Option<Response> + Send + Sync + 'static) -> Upstream {
    let lists = AtomicUsize::new(0);
    Upstream::scripted(move |message| match message.method() {
        "tools/list" => {
            let axis = if lists.fetch_add(1, Ordering::SeqCst) == 0 { "x" } else { "y" };
            Some(rpc(&message.result(tools(axis))))
        }
        _ => announce(message),
    })
}

fn list_changed() -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
}

/// The list that is known serves for up to a second: each session may be told of the same change.
fn wait_for_change(guard: &Guard) {
    patiently("the change is learned", || call(guard, "move", json!({"y": 1})).reason().is_none());
}

#[track_caller]
fn assert_wants(guard: &Guard, axis: &str, other: &str) {
    assert_eq!(call(guard, "move", json!({axis: 1})).reason(), None, "{axis} is right");
    let reply = call(guard, "move", json!({other: 1}));
    assert_eq!(reply.reason().as_deref(), Some("invalid_arguments"), "{other} is not: {}", reply.text());
}

#[test]
fn a_change_that_is_announced_within_an_answer_is_learned() {
    let upstream = changing(|message| {
        (message.method() == "ping").then(|| {
            let (events, stream) = events();
            events.send(&list_changed());
            events.send(&message.result(json!({})));
            stream
        })
    });
    let guard = guarded(&upstream, json!({"rate_limits": []}));
    assert_wants(&guard, "x", "y");
    let ping = send(guard.listen, &[], request(1, "ping", json!({})).to_string());
    assert_eq!(ping.status, 200);
    wait_for_change(&guard);
    assert_wants(&guard, "y", "x");
}

#[test]
fn a_change_that_is_announced_on_the_servers_own_stream_is_learned() {
    let (events, stream) = events();
    let stream = Mutex::new(Some(stream));
    let upstream =
        changing(move |message| if message.method() == "GET" { stream.lock().unwrap().take() } else { None });
    let guard = guarded(&upstream, json!({"rate_limits": []}));
    assert_wants(&guard, "x", "y");
    let mut wire = Wire::connect(guard.listen);
    wire.write(
        "GET /mcp HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nmcp-protocol-version: 2025-11-25\r\n\r\n",
    );
    assert_eq!(wire.head().status, 200);
    events.send(&list_changed());
    assert!(wire.chunk().is_some());
    wait_for_change(&guard);
    assert_wants(&guard, "y", "x");
}

#[test]
fn a_node_that_was_gone_is_asked_for_its_tools_anew() {
    let address = free_address();
    let node = |axis: &'static str| {
        Upstream::scripted_at(address, move |message| {
            (message.method() == "tools/list").then(|| rpc(&message.result(tools(axis))))
        })
    };
    let old = node("x");
    let health = json!({"interval": "20ms", "timeout": "20ms", "unhealthy_after": 1, "healthy_after": 1});
    let config = json!({"version": 1, "upstreams": [{"url": old.url(), "health": health}]});
    let guard = Guard::with_config(PROGRAM, &config.to_string());
    assert_wants(&guard, "x", "y");
    let is_ready = |status| guard.get("/readyz").is_some_and(|reply| reply.status == status);
    drop(old);
    patiently("it is gone", || is_ready(503));
    let _new = node("y");
    patiently("another is there", || is_ready(200));
    wait_for_change(&guard);
    assert_wants(&guard, "y", "x");
}

/// An upstream with tools that read and that burn, which answers the first call with `first`.
fn failing_once(first: impl Fn() -> Response + Send + Sync + 'static) -> Upstream {
    let calls = AtomicUsize::new(0);
    Upstream::scripted(move |message| match message.method() {
        "tools/list" => {
            let schema = json!({"type": "object"});
            let look = json!({"name": "look", "inputSchema": schema, "annotations": {"readOnlyHint": true}});
            Some(rpc(&message.result(json!({"tools": [look, {"name": "burn", "inputSchema": schema}]}))))
        }
        "tools/call" if calls.fetch_add(1, Ordering::SeqCst) == 0 => Some(first()),
        _ => None,
    })
}

fn retrying(trust: bool) -> Value {
    json!({"retry": {"attempts": 3, "base": "1ms", "cap": "5ms", "budget": 1.0, "trust_annotations": trust}})
}

#[test]
fn a_tool_that_only_reads_is_called_again_where_annotations_are_trusted() {
    let upstream = failing_once(broken);
    let guard = guarded(&upstream, retrying(true));
    let reply = call(&guard, "look", json!({}));
    assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(1)), "{}", reply.text());
    assert_eq!(methods(&upstream), ["tools/list", "tools/call", "tools/call"]);
    assert_eq!(guard.metric("mcp_guard_retries_total{outcome=\"success\"}"), 1.0);
}

#[test]
fn annotations_are_not_trusted_unasked() {
    let upstream = failing_once(broken);
    let guard = guarded(&upstream, retrying(false));
    assert_eq!(call(&guard, "look", json!({})).reason().as_deref(), Some("upstream_failed"));
    assert_eq!(upstream.calls(), 1);
}

#[test]
fn a_tool_that_may_have_done_something_is_never_called_again() {
    for failure in [broken, || StatusCode::BAD_GATEWAY.into_response()] {
        let upstream = failing_once(failure);
        let guard = guarded(&upstream, retrying(true));
        assert_eq!(call(&guard, "burn", json!({})).status, 502);
        assert_eq!(upstream.calls(), 1);
    }
}

#[test]
fn a_list_is_asked_for_again_without_a_word_to_the_caller() {
    let lists = AtomicUsize::new(0);
    let upstream = Upstream::scripted(move |message| {
        let is_first = message.method() == "tools/list" && lists.fetch_add(1, Ordering::SeqCst) == 0;
        is_first.then(|| StatusCode::SERVICE_UNAVAILABLE.into_response())
    });
    let guard = guarded(&upstream, retrying(false));
    let reply = send(guard.listen, &[], request(1, "tools/list", json!({})).to_string());
    assert!(reply.json()["result"]["tools"].is_array(), "{}", reply.text());
    assert_eq!(methods(&upstream), ["tools/list", "tools/list"]);
}

#[test]
fn what_is_repeated_fills_neither_the_queue_nor_the_allowance_twice() {
    let upstream = failing_once(broken);
    let mut config = retrying(true);
    config["queue"] = json!({"concurrency": 1, "adaptive": false, "waiting": 0});
    config["rate_limits"] =
        json!([{"name": "tight", "key": ["tool"], "match": {"method": "tools/call"}, "rate": "2/m", "burst": 2}]);
    let guard = guarded(&upstream, config);
    assert_eq!([call(&guard, "look", json!({})).status, call(&guard, "look", json!({})).status], [200, 200]);
    assert_eq!(upstream.calls(), 3);
    assert_eq!(call(&guard, "look", json!({})).reason().as_deref(), Some("rate_limited"));
}

#[test]
fn refused_calls_do_not_trip_the_breaker_and_a_tripped_tool_leaves_the_others() {
    let upstream = Upstream::start();
    let breaker = json!({"consecutive_failures": 3, "minimum_calls": 100});
    let guard = guarded(&upstream, json!({"breaker": breaker}));
    for _ in 0..5 {
        assert_eq!(call(&guard, "add", json!({})).reason().as_deref(), Some("invalid_arguments"));
    }
    assert_eq!(call(&guard, "add", json!({"a": 1, "b": 2})).reason(), None);
    for _ in 0..3 {
        assert_eq!(call(&guard, "internal", json!({})).json()["error"]["code"], -32603);
    }
    assert_eq!(call(&guard, "internal", json!({})).reason().as_deref(), Some("breaker_open"));
    assert_eq!(call(&guard, "echo", json!({})).reason(), None);
}

#[test]
fn a_ping_does_not_wait_behind_tools() {
    let upstream = Upstream::start();
    let guard = guarded(&upstream, json!({"queue": {"concurrency": 1, "adaptive": false, "max_wait": "20s"}}));
    std::thread::scope(|scope| {
        let hold = scope.spawn(|| call(&guard, "hold", json!({})));
        patiently("the only place is taken", || upstream.calls() == 1);
        let echo = scope.spawn(|| call(&guard, "echo", json!({})));
        patiently("a tool waits", || guard.metric("mcp_guard_queue_depth") == 1.0);
        let ping = scope.spawn(|| send(guard.listen, &[], request(1, "ping", json!({})).to_string()));
        patiently("so does the ping", || guard.metric("mcp_guard_queue_depth") == 2.0);
        upstream.release(1);
        for waiting in [hold, echo, ping] {
            assert_eq!(waiting.join().unwrap().status, 200);
        }
    });
    assert_eq!(methods(&upstream), ["tools/list", "tools/call", "ping", "tools/call"]);
}

#[test]
fn a_result_that_breaks_its_schema_is_kept_from_the_caller() {
    let upstream = Upstream::scripted(|message| {
        let output = json!({"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]});
        let result = match message.method() {
            "tools/list" => {
                json!({"tools": [{"name": "count", "inputSchema": {"type": "object"}, "outputSchema": output}]})
            }
            "tools/call" => json!({"content": [], "structuredContent": {"n": "a secret"}}),
            _ => return None,
        };
        Some(rpc(&message.result(result)))
    });
    let guard = guarded(&upstream, json!({"validation": {"results": "enforce"}}));
    let reply = call(&guard, "count", json!({}));
    assert_eq!(reply.json()["result"]["isError"], true, "{}", reply.text());
    assert!(reply.text().contains("/n") && !reply.text().contains("secret"), "{}", reply.text());
}
