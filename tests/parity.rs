//! One guard, two hosts: whatever is sent, the layer in an axum server and the sidecar answer the same.

use std::net::SocketAddr;
use std::time::Duration;

use mcp_guard::GuardLayer;
use mcp_guard::config::GuardConfig;
use mcp_guard::middleware::EdgePolicy;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Reply, call_tool, request, send};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

/// What is sent, one after the other, and what comes of the last.
struct Scenario {
    name: &'static str,
    guard: Value,
    sent: Vec<Sent>,
    /// HTTP status, JSON-RPC code, reason.
    expected: (u16, Option<i64>, Option<&'static str>),
    /// How many tool calls reach the node.
    calls: usize,
}

struct Sent {
    headers: &'static [(&'static str, &'static str)],
    body: Vec<u8>,
}

fn sent(headers: &'static [(&'static str, &'static str)], body: impl ToString) -> Sent {
    Sent { headers, body: body.to_string().into_bytes() }
}

/// A message of 2025-11-25.
fn plain(message: impl ToString) -> Sent {
    sent(&[], message)
}

fn scenario(
    name: &'static str,
    sent: Sent,
    expected: (u16, Option<i64>, Option<&'static str>),
    calls: usize,
) -> Scenario {
    Scenario { name, guard: json!({}), sent: vec![sent], expected, calls }
}

const BATCHES: &[(&str, &str)] = &[("mcp-protocol-version", "2025-03-26")];
const OLDER: &[(&str, &str)] = &[("mcp-protocol-version", "2025-06-18")];
const STATELESS_PING: &[(&str, &str)] = &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "ping")];
const STATELESS: &[(&str, &str)] = &[("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];

/// What goes through, and what is wrong in itself.
fn of_one_message() -> Vec<Scenario> {
    let bad = call_tool(1, "add", json!({"a": 1, "b": "two"}));
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let batch = json!([call_tool(1, "echo", json!({})), bad, {"jsonrpc": "2.0", "id": 3, "method": "tools/call"}]);
    let no_params = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call"});
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let response = json!({"jsonrpc": "2.0", "id": "nobody asked", "result": {}});
    vec![
        scenario("a good call", plain(call_tool(1, "add", json!({"a": 1, "b": 2}))), (200, None, None), 1),
        scenario("bad arguments", plain(&bad), (200, None, Some("invalid_arguments")), 0),
        scenario("bad arguments, once", sent(OLDER, &bad), (200, Some(-32602), Some("invalid_arguments")), 0),
        scenario("missing params", plain(no_params), (200, Some(-32602), Some("invalid_params")), 0),
        scenario("a method of nobody's", plain(request(1, "vendor/burn", json!({}))), (200, None, None), 0),
        scenario(
            "a method of another revision",
            plain(request(1, "server/discover", json!({}))),
            (200, Some(-32601), Some("method_not_found")),
            0,
        ),
        scenario(
            "a method of the past",
            sent(STATELESS_PING, request(1, "ping", json!({"_meta": meta}))),
            (404, Some(-32601), Some("method_not_found")),
            0,
        ),
        scenario("no JSON", plain("{nonsense"), (400, Some(-32700), Some("parse_error")), 0),
        scenario("a batch", sent(BATCHES, &batch), (200, None, None), 1),
        scenario("a batch, today", plain(&batch), (400, Some(-32600), Some("invalid_request")), 0),
        scenario("a notification", plain(notification), (202, None, None), 0),
        scenario("a response nobody asked for", plain(response), (202, None, None), 0),
        scenario(
            "headers that contradict the body",
            sent(STATELESS, request(1, "prompts/list", json!({"_meta": meta}))),
            (400, Some(-32020), Some("header_mismatch")),
            0,
        ),
        scenario(
            "a foreign origin",
            sent(&[("origin", "http://evil.example")], request(1, "ping", json!({}))),
            (403, Some(1014), Some("origin_not_allowed")),
            0,
        ),
    ]
}

/// What the policies are for.
fn of_policies() -> Vec<Scenario> {
    let call = |name: &str| plain(call_tool(1, name, json!({})));
    let rule = json!({"name": "tight", "key": ["client", "tool"], "match": {"method": "tools/call"}, "rate": "2/m", "burst": 2});
    vec![
        Scenario {
            name: "a body of one byte too many",
            guard: json!({"limits": {"body": "1KiB"}}),
            sent: vec![plain(" ".repeat(1025))],
            expected: (413, Some(1068), Some("payload_too_large")),
            calls: 0,
        },
        Scenario {
            name: "an allowance that is spent",
            guard: json!({"rate_limits": [rule]}),
            sent: vec![call("echo"), call("echo"), call("echo")],
            expected: (429, Some(1056), Some("rate_limited")),
            calls: 2,
        },
        Scenario {
            name: "a node that breaks off",
            guard: json!({}),
            sent: vec![call("broken")],
            expected: (502, Some(1067), Some("upstream_failed")),
            calls: 1,
        },
        Scenario {
            name: "a node that keeps breaking off",
            guard: json!({"breaker": {"consecutive_failures": 2}}),
            sent: vec![call("broken"), call("broken"), call("broken")],
            expected: (503, Some(1086), Some("breaker_open")),
            calls: 2,
        },
        Scenario {
            name: "a tool that takes too long",
            guard: json!({"tools": [{"name": "hold", "timeout": "50ms"}]}),
            sent: vec![call("hold")],
            expected: (504, Some(1069), Some("deadline_exceeded")),
            calls: 1,
        },
        Scenario {
            name: "a tool that is repeated, and still breaks off",
            guard: json!({"retry": {"attempts": 3, "base": "1ms", "budget": 1.0, "trust_annotations": true}}),
            sent: vec![call("broken_read")],
            expected: (502, Some(1067), Some("upstream_failed")),
            calls: 3,
        },
        scenario("a tool that says no", call("error"), (200, None, None), 1),
        scenario("a tool that fails inside", call("internal"), (200, Some(-32603), None), 1),
        scenario(
            "a node that answers with a status of its own",
            plain(call_tool(1, "status", json!({"code": 418}))),
            (418, None, None),
            1,
        ),
    ]
}

/// What a client can tell two answers apart by, without what differs from second to second.
fn essence(reply: &Reply) -> (u16, Vec<Option<String>>, Value) {
    let names = ["content-type", "retry-after", "ratelimit-policy", "allow", "mcp-session-id"];
    let headers = names.map(|name| reply.header(name).map(str::to_owned)).to_vec();
    let mut body = reply.json();
    if let Some(data) = body.pointer_mut("/error/data").and_then(Value::as_object_mut) {
        data.remove("retryAfterMs");
    }
    if let Some(error) = body.get_mut("error").and_then(Value::as_object_mut) {
        error.remove("message");
    }
    (reply.status, headers, body)
}

fn play(scenario: &Scenario, address: SocketAddr) -> Reply {
    let mut reply = None;
    for sent in &scenario.sent {
        reply = Some(send(address, sent.headers, &sent.body));
    }
    reply.expect("something is sent")
}

fn assert_as_expected(scenario: &Scenario, host: &str, reply: &Reply, upstream: &Upstream) {
    let name = scenario.name;
    let (status, code, reason) = scenario.expected;
    let text = reply.text();
    assert_eq!(reply.status, status, "{name}, {host}: {text}");
    assert_eq!(reply.json()["error"]["code"].as_i64(), code, "{name}, {host}: {text}");
    assert_eq!(reply.reason().as_deref(), reason, "{name}, {host}: {text}");
    assert_eq!(upstream.calls(), scenario.calls, "{name}, {host}: calls that reached the node");
}

/// The guard as a layer, with what the sidecar has by default around it.
fn library(guard: &Value) -> Upstream {
    let config: GuardConfig = serde_json::from_value(guard.clone()).expect("a valid config");
    let edge = EdgePolicy::default().path("/mcp").expect("a path");
    let edge = edge.allowed_hosts(["127.0.0.1".to_owned()]).allowed_origins([]);
    Upstream::within(GuardLayer::new(config).edge(edge).call_timeout(Duration::from_secs(30)))
}

#[track_caller]
fn assert_parity(scenarios: &[Scenario]) {
    for scenario in scenarios {
        let upstream = library(&scenario.guard);
        let by_library = play(scenario, upstream.address);
        assert_as_expected(scenario, "library", &by_library, &upstream);

        let upstream = Upstream::start();
        let config = json!({"version": 1, "upstreams": [{"url": upstream.url()}], "guard": scenario.guard});
        let guard = Guard::with_config(PROGRAM, &config.to_string());
        let by_sidecar = play(scenario, guard.listen);
        assert_as_expected(scenario, "sidecar", &by_sidecar, &upstream);

        assert_eq!(essence(&by_library), essence(&by_sidecar), "{}", scenario.name);
    }
}

#[test]
fn messages_are_judged_the_same() {
    assert_parity(&of_one_message());
}

#[test]
fn policies_hold_the_same() {
    assert_parity(&of_policies());
}
