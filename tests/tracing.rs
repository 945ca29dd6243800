//! Spans, as a real collector gets them.

use mcp_guard_tests::peers::Peers;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, call_tool, patiently, send};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

#[test]
fn a_call_is_a_server_span_of_the_callers_trace_with_a_client_span_in_it() {
    let Some(peers) = Peers::find(&["collector"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("spans");
    let (_collector, otlp) = peers.collector(&log);
    let upstream = Upstream::start();
    let config = json!({
        "version": 1,
        "upstreams": [{"url": upstream.url()}],
        "telemetry": {"traces": {"otlp": format!("http://{otlp}"), "sample": 1.0}},
    });
    let mut guard = Guard::with_config(PROGRAM, &config.to_string());
    let call = call_tool(7, "add", json!({"a": 1, "b": 20261122})).to_string();
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    assert_eq!(send(guard.listen, &[("traceparent", &traceparent)], call).status, 200);
    // Ending sends what is left.
    guard.signal("TERM");
    assert_eq!(guard.wait(), Some(0));
    let spans = || std::fs::read_to_string(&log).unwrap_or_default();
    patiently("the spans have arrived", || spans().contains("SPAN_KIND_SERVER"));
    let text = spans();
    let server = span(&text, "SPAN_KIND_SERVER", "tools/call add");
    assert_eq!((field(server, "Trace ID"), field(server, "Parent ID")), (TRACE, CALLER));
    let client = span(&text, "SPAN_KIND_CLIENT", "tools/call add");
    assert_eq!((field(client, "Trace ID"), field(client, "Parent ID")), (TRACE, field(server, "ID ")));
    for attribute in ["mcp.method.name: Str(tools/call)", "gen_ai.tool.name: Str(add)", "jsonrpc.request.id: Str(7)"] {
        assert!(server.contains(attribute) && client.contains(attribute), "{attribute} in {server}{client}");
    }
    assert!(!text.contains("20261122"), "no argument is in a span");
    let (headers, _) = upstream.seen().into_iter().find(|(_, message)| message["id"] == 7).unwrap();
    let sent = headers.get("traceparent").unwrap().to_str().unwrap();
    assert_eq!(sent, format!("00-{TRACE}-{}-01", field(client, "ID ")));
}

/// The text of the span of that kind and name.
fn span<'a>(text: &'a str, kind: &str, name: &str) -> &'a str {
    let mut spans = text.split("Span #").filter(|span| span.contains(kind));
    spans.find(|span| field(span, "Name") == name).expect("such a span")
}

/// The value of a field of a span.
fn field<'a>(span: &'a str, name: &str) -> &'a str {
    let mut lines = span.lines().map(str::trim_start);
    let value = lines.find_map(|line| line.strip_prefix(name)?.split_once(':'));
    value.expect("the field").1.trim()
}
