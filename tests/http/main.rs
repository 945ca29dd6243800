//! HTTP as it really is: connections that are kept, cut and reused, streams that come bit by bit, heads that lie.

mod connections;
mod forwarding;
mod framing;
mod http2;
mod streams;

use mcp_guard_tests::Guard;
use mcp_guard_tests::upstream::Upstream;
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

/// A guard in front of `upstream`.
fn guard(upstream: &Upstream) -> Guard {
    with(json!({"url": upstream.url()}), json!({}))
}

/// A guard with these sections.
fn with(upstream: Value, guard: Value) -> Guard {
    Guard::with_config(PROGRAM, &json!({"version": 1, "upstreams": [upstream], "guard": guard}).to_string())
}

/// A request as bytes, on a connection that is to be kept.
fn http(method: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut head = format!("{method} /mcp HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    format!("{head}\r\n{body}")
}

/// A message as bytes, as an ordinary client of 2025-11-25 sends it.
fn post(message: &Value) -> String {
    http("POST", &LEGACY, &message.to_string())
}

const LEGACY: [(&str, &str); 3] = [
    ("content-type", "application/json"),
    ("accept", "application/json, text/event-stream"),
    ("mcp-protocol-version", "2025-11-25"),
];

/// A tool call as bytes, as a client of 2026-07-28 sends it.
fn stateless_call(tool: &str) -> String {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let params = json!({"name": tool, "arguments": {}, "_meta": meta});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let headers = [
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", tool),
    ];
    http("POST", &headers, &message.to_string())
}

/// `validation` that leaves the guard without a reason to list tools itself.
fn no_lists() -> Value {
    json!({"validation": {"arguments": "off", "results": "off"}})
}
