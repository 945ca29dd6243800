//! Every refusal that can arise, over a real socket: status, code, `Retry-After` and body as the contract has them.

use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Reply, Wire, call_tool, post, raw, request, send, send_to};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

/// The id of a refusal of what was not read, or has none.
const NONE: Value = Value::Null;

/// A guard with `guard` as its section of that name, in front of an upstream of the test's own.
fn guarded(guard: Value) -> (Guard, Upstream) {
    let upstream = Upstream::start();
    let config = json!({"version": 1, "upstreams": [{"url": upstream.url()}], "guard": guard});
    (Guard::with_config(PROGRAM, &config.to_string()), upstream)
}

/// Asserts what every refusal has in common: `id` is the request's, or null where that was not read.
#[track_caller]
fn assert_refused(reply: &Reply, reason: &str, status: u16, code: i64, id: impl Into<Value>) {
    assert_eq!(reply.reason().as_deref(), Some(reason), "{}", reply.text());
    assert_eq!(reply.status, status, "{reason}");
    let body = reply.json();
    assert_eq!((&body["jsonrpc"], body.get("id")), (&json!("2.0"), Some(&id.into())), "{}", reply.text());
    assert_eq!(body["error"]["code"], code, "{reason}");
    assert!(body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()));
    assert_eq!(reply.header("content-type"), Some("application/json"));
}

#[track_caller]
fn assert_wait(reply: &Reply) {
    let seconds: u64 = reply.header("retry-after").expect("Retry-After").parse().expect("whole seconds");
    let body = reply.json();
    let ms = body["error"]["data"]["retryAfterMs"].as_u64().expect("retryAfterMs");
    assert!(seconds >= 1);
    assert!(seconds * 1000 >= ms, "rounded up: {seconds} s for {ms} ms");
    assert!((seconds - 1) * 1000 < ms.max(1), "not more than needed: {seconds} s for {ms} ms");
}

#[test]
fn what_is_wrong_with_the_body_is_refused_and_nothing_reaches_the_node() {
    let (guard, upstream) = guarded(json!({"limits": {"body": "1KiB"}}));
    let post = |body: &[u8]| send(guard.listen, &[], body);
    assert_refused(&post(b"{nonsense"), "parse_error", 400, -32700, NONE);
    assert_refused(&post(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}"), "parse_error", 400, -32700, NONE);
    let deep = [b"[".repeat(300), b"]".repeat(300)].concat();
    assert_refused(&post(&deep), "parse_error", 400, -32700, NONE);
    assert_refused(&post(br#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#), "invalid_request", 400, -32600, NONE);
    assert_refused(
        &post(br#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"x"}"#),
        "invalid_request",
        400,
        -32600,
        NONE,
    );
    assert_refused(&post(br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#), "invalid_request", 400, -32600, NONE);
    let batch = br#"[{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}]"#;
    let reply = send(guard.listen, &[("mcp-protocol-version", "2025-03-26")], batch);
    assert_refused(&reply, "invalid_request", 400, -32600, NONE);
    assert_refused(&post(&[b' '; 1025]), "payload_too_large", 413, 1068, NONE);
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn what_is_wrong_with_the_head_is_refused() {
    let (guard, upstream) = guarded(json!({}));
    let ping = request(1, "ping", json!({})).to_string();
    let json = ("content-type", "application/json");
    let to = |method, path, headers: &[(&str, &str)]| send_to(guard.listen, method, path, headers, &ping);
    assert_refused(&to("POST", "/other", &[json]), "not_found", 404, 1046, NONE);
    let reply = to("PUT", "/mcp", &[json]);
    assert_refused(&reply, "method_not_allowed", 405, 1025, NONE);
    assert_eq!(reply.header("allow"), Some("GET, POST, DELETE"));
    assert_refused(&to("POST", "/mcp", &[("content-type", "text/plain")]), "unsupported_media_type", 415, 1024, NONE);
    assert_refused(&to("POST", "/mcp", &[json, ("accept", "text/html")]), "not_acceptable", 406, 1025, NONE);
    assert_refused(&to("GET", "/mcp", &[("accept", "application/json")]), "not_acceptable", 406, 1025, NONE);
    assert_refused(
        &to("POST", "/mcp", &[json, ("origin", "http://evil.example")]),
        "origin_not_allowed",
        403,
        1014,
        NONE,
    );
    assert_refused(&to("POST", "/mcp", &[json, ("mcp-session-id", "a b")]), "invalid_header", 400, 1025, NONE);
    let reply = to("POST", "/mcp", &[json, ("mcp-protocol-version", "1999-01-01")]);
    assert_refused(&reply, "unsupported_version", 400, -32022, 1);
    assert_eq!(reply.json()["error"]["data"]["requested"], "1999-01-01");
    let evil = format!(
        "POST /mcp HTTP/1.1\r\nhost: evil.example\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{ping}",
        ping.len()
    );
    assert_refused(&raw(guard.listen, evil.as_bytes()).unwrap(), "host_not_allowed", 403, 1014, NONE);
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn a_head_that_is_too_large_is_refused_and_one_at_the_bounds_is_not() {
    let (guard, upstream) = guarded(json!({}));
    let reply = |headers: &[(&str, &str)]| send(guard.listen, headers, request(1, "ping", json!({})).to_string());
    // With `host`, `connection`, `content-length` and the three of `send`.
    let many = |count: usize| (6..count).map(|at| format!("x-{at}")).collect::<Vec<_>>();
    let of = |names: &[String]| reply(&names.iter().map(|name| (name.as_str(), "1")).collect::<Vec<_>>());
    assert_eq!(of(&many(96)).status, 200);
    assert_refused(&of(&many(97)), "headers_too_large", 431, 1025, NONE);
    let large = "x".repeat((16 << 10) - "x-1".len());
    assert_eq!(reply(&[("x-1", &large)]).status, 200);
    assert_refused(&reply(&[("x-11", &large)]), "headers_too_large", 431, 1025, NONE);
    assert_refused(&reply(&[("x-1", large.as_str()); 4]), "headers_too_large", 431, 1025, NONE);
    assert_eq!(upstream.seen().len(), 2);
}

#[test]
fn headers_of_the_stateless_revision_must_say_what_the_body_says() {
    let (guard, _upstream) = guarded(json!({}));
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let list = request(1, "tools/list", json!({"_meta": meta})).to_string();
    let version = ("mcp-protocol-version", "2026-07-28");
    let reply = send(guard.listen, &[version, ("mcp-method", "tools/call")], &list);
    assert_refused(&reply, "header_mismatch", 400, -32020, 1);
    let reply = send(guard.listen, &[version, ("mcp-method", "tools/list")], &list);
    assert_eq!(reply.status, 200);
    let future = json!({"io.modelcontextprotocol/protocolVersion": "v999.0.0", "io.modelcontextprotocol/clientCapabilities": {}});
    let discover = request(4, "server/discover", json!({"_meta": future})).to_string();
    let reply = send(guard.listen, &[version, ("mcp-method", "server/discover")], discover);
    assert_refused(&reply, "header_mismatch", 400, -32020, 4);
    let unknown = request(2, "ping", json!({"_meta": meta})).to_string();
    let reply = send(guard.listen, &[version, ("mcp-method", "ping")], unknown);
    assert_refused(&reply, "method_not_found", 404, -32601, 2);
    let no_name = request(3, "tools/call", json!({"_meta": meta})).to_string();
    let reply = send(guard.listen, &[version, ("mcp-method", "tools/call")], no_name);
    assert_refused(&reply, "invalid_params", 400, -32602, 3);
}

#[test]
fn params_and_arguments_are_refused_as_the_revision_has_it() {
    let (guard, upstream) = guarded(json!({}));
    let no_params = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call"}).to_string();
    assert_refused(&send(guard.listen, &[], no_params), "invalid_params", 200, -32602, 1);
    let older = [("mcp-protocol-version", "2025-06-18")];
    let bad = call_tool(2, "add", json!({"a": 1, "b": "not a number, but a secret"})).to_string();
    let reply = send(guard.listen, &older, &bad);
    assert_refused(&reply, "invalid_arguments", 200, -32602, 2);
    assert!(!reply.text().contains("secret"));
    let reply = send(guard.listen, &[], &bad);
    assert_eq!((reply.status, reply.reason().as_deref()), (200, Some("invalid_arguments")), "{}", reply.text());
    assert_eq!(reply.json()["result"]["isError"], true);
    assert!(reply.text().contains("/b"));
    assert_eq!(upstream.calls(), 0);
    let good = send(guard.listen, &[], call_tool(3, "add", json!({"a": 1, "b": 2})).to_string());
    assert!(good.json()["result"]["content"].is_array(), "{}", good.text());
}

#[test]
fn a_notification_is_refused_without_a_body() {
    let (guard, _upstream) = guarded(json!({}));
    let reply =
        send(guard.listen, &[], r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":[]}}"#);
    assert_eq!((reply.status, reply.body.len()), (400, 0), "{}", reply.text());
}

#[test]
fn a_spent_allowance_is_refused_with_the_exact_wait() {
    let rule = json!({"name": "tight", "key": ["client", "tool"], "match": {"method": "tools/call"}, "rate": "6/m", "burst": 2});
    let (guard, upstream) = guarded(json!({"rate_limits": [rule]}));
    let call = call_tool(1, "echo", json!({})).to_string();
    for _ in 0..2 {
        assert_eq!(send(guard.listen, &[], &call).status, 200);
    }
    let reply = send(guard.listen, &[], &call);
    assert_refused(&reply, "rate_limited", 429, 1056, 1);
    assert_wait(&reply);
    assert!(reply.json()["error"]["data"]["retryAfterMs"].as_u64().unwrap() > 8_000);
    assert!(reply.header("ratelimit").is_some_and(|value| value.contains("tight")));
    assert_eq!(upstream.calls(), 2);
    assert_eq!(guard.metric("mcp_guard_refusals_total{reason=\"rate_limited\"}"), 1.0);
}

/// A refused body is not read, so its id is not known.
#[test]
fn a_rule_on_the_client_alone_refuses_before_the_body_has_come() {
    let (guard, upstream) = guarded(json!({"rate_limits": [{"name": "per-client", "key": ["client"], "rate": "1/h"}]}));
    let ping = request(7, "ping", json!({})).to_string();
    assert_eq!(send(guard.listen, &[], &ping).status, 200);
    let reply = send(guard.listen, &[], &ping);
    assert_refused(&reply, "rate_limited", 429, 1056, NONE);
    assert_wait(&reply);
    let unsent = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\nconnection: close\r\n\r\n";
    assert_refused(&raw(guard.listen, unsent.as_bytes()).unwrap(), "rate_limited", 429, 1056, NONE);
    assert_eq!(upstream.seen().len(), 1);
}

#[test]
fn a_full_queue_and_a_long_wait_are_refused() {
    let (guard, upstream) =
        guarded(json!({"queue": {"concurrency": 1, "adaptive": false, "waiting": 1, "max_wait": "300ms"}}));
    let hold = call_tool(1, "hold", json!({})).to_string();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| send(guard.listen, &[], &hold));
        mcp_guard_tests::patiently("the first call holds the only place", || upstream.calls() == 1);
        let second = scope.spawn(|| send(guard.listen, &[], &hold));
        mcp_guard_tests::patiently("the second waits", || guard.metric("mcp_guard_queue_depth") == 1.0);
        let third = send(guard.listen, &[], &hold);
        assert_refused(&third, "queue_full", 503, 1005, 1);
        assert_wait(&third);
        let second = second.join().unwrap();
        assert_refused(&second, "queue_timeout", 503, 1005, 1);
        assert_wait(&second);
        upstream.release(1);
        assert_eq!(first.join().unwrap().status, 200);
    });
}

#[test]
fn an_upstream_that_breaks_off_is_told_and_then_spared() {
    let (guard, upstream) = guarded(json!({"breaker": {"consecutive_failures": 3, "open": "30s"}}));
    let broken = call_tool(1, "broken", json!({})).to_string();
    for _ in 0..3 {
        assert_refused(&send(guard.listen, &[], &broken), "upstream_failed", 502, 1067, 1);
    }
    let reply = send(guard.listen, &[], &broken);
    assert_refused(&reply, "breaker_open", 503, 1086, 1);
    assert_wait(&reply);
    assert_eq!(upstream.calls(), 3, "a call that may have run is not repeated, one that is refused not sent");
}

#[test]
fn a_tool_that_says_no_does_not_trip_the_breaker() {
    let (guard, upstream) = guarded(json!({"breaker": {"consecutive_failures": 2, "minimum_calls": 2}}));
    for id in 0..6 {
        assert_eq!(send(guard.listen, &[], call_tool(id, "error", json!({})).to_string()).status, 200);
    }
    assert_eq!(upstream.calls(), 6);
}

#[test]
fn an_upstream_that_is_not_there_is_told_with_a_wait() {
    let (guard, upstream) = guarded(json!({"retry": {"attempts": 1}}));
    drop(upstream);
    let reply = send(guard.listen, &[], request(1, "ping", json!({})).to_string());
    assert_refused(&reply, "upstream_unavailable", 503, 1078, 1);
    assert_wait(&reply);
}

#[test]
fn a_call_that_takes_too_long_is_told() {
    let (guard, _upstream) = guarded(json!({"tools": [{"name": "hold", "timeout": "50ms"}]}));
    let reply = send(guard.listen, &[], call_tool(1, "hold", json!({})).to_string());
    assert_refused(&reply, "deadline_exceeded", 504, 1069, 1);
}

#[test]
fn a_body_that_comes_too_slowly_is_refused() {
    let (guard, _upstream) = guarded(json!({"limits": {"body_timeout": "50ms"}}));
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{{",
        guard.listen
    );
    assert_refused(&raw(guard.listen, head.as_bytes()).unwrap(), "request_timeout", 408, 1069, NONE);
}

#[test]
fn a_connection_too_many_is_told_so() {
    let (guard, _upstream) = guarded(json!({"limits": {"connections_per_client": 2}}));
    let mut held = Vec::new();
    // The connection by which the harness saw that it listens may have the second place still.
    mcp_guard_tests::patiently("two have their places", || {
        let mut wire = Wire::connect(guard.listen);
        wire.write(post(guard.listen, &[], request(1, "ping", json!({})).to_string()));
        if wire.message().status == 200 {
            held.push(wire);
        }
        held.len() == 2
    });
    let reply = send(guard.listen, &[], request(1, "ping", json!({})).to_string());
    assert_refused(&reply, "too_many_connections", 429, 1060, NONE);
    assert_wait(&reply);
    drop(held);
    mcp_guard_tests::patiently("the places are free again", || guard.metric("mcp_guard_connections") == 0.0);
    assert_eq!(send(guard.listen, &[], request(1, "ping", json!({})).to_string()).status, 200);
}

#[test]
fn a_draining_guard_finishes_what_it_accepted_and_turns_new_calls_away() {
    let (mut guard, upstream) = guarded(json!({}));
    let listen = guard.listen;
    let hold = call_tool(1, "hold", json!({})).to_string();
    std::thread::scope(|scope| {
        let held = scope.spawn(|| send(listen, &[], &hold));
        mcp_guard_tests::patiently("the call has arrived", || upstream.calls() == 1);
        guard.signal("TERM");
        mcp_guard_tests::patiently("it is not ready", || guard.get("/readyz").is_some_and(|reply| reply.status == 503));
        let reply = send(listen, &[], request(2, "ping", json!({})).to_string());
        assert_refused(&reply, "draining", 503, 1077, NONE);
        assert_wait(&reply);
        upstream.release(1);
        assert_eq!(held.join().unwrap().status, 200, "what was accepted is answered");
    });
    assert_eq!(guard.wait(), Some(0));
}
