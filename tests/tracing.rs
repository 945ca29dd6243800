//! Spans, as a real collector gets them.

use std::net::SocketAddr;

use mcp_guard_tests::peers::Peers;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, call_tool, free_address, patiently, send};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

#[test]
fn a_call_is_a_server_span_of_the_callers_trace_with_a_client_span_in_it() {
    let Some(peers) = Peers::find(&["collector"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("spans");
    let (_collector, [otlp, _]) = peers.collector(&log);
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

/// What came to a collector of one ended guard, that was sent `calls` with these headers.
fn told(traces: impl Fn([SocketAddr; 2]) -> Value, headers: &[(&str, &str)], calls: &[Value]) -> Option<String> {
    let peers = Peers::find(&["collector"])?;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("spans");
    let (_collector, addresses) = peers.collector(&log);
    let upstream = Upstream::start();
    let telemetry = json!({"traces": traces(addresses)});
    let config = json!({"version": 1, "upstreams": [{"url": upstream.url()}], "telemetry": telemetry});
    let mut guard = Guard::with_config(PROGRAM, &config.to_string());
    for call in calls {
        send(guard.listen, headers, call.to_string());
    }
    guard.signal("TERM");
    assert_eq!(guard.wait(), Some(0));
    let spans = || std::fs::read_to_string(&log).unwrap_or_default();
    patiently("spans have arrived", || spans().contains("SPAN_KIND_SERVER"));
    Some(spans())
}

#[test]
fn the_context_of_the_http_request_is_a_link_where_the_message_names_its_parent() {
    const SENDER: &str = "2222222222222222";
    let traces = |[grpc, _]: [SocketAddr; 2]| json!({"otlp": format!("http://{grpc}"), "sample": 1.0});
    let mut call = call_tool(7, "echo", json!({}));
    call["params"]["_meta"] = json!({"traceparent": format!("00-{TRACE}-{SENDER}-01")});
    let of_http = format!("00-{TRACE}-{CALLER}-01");
    let Some(text) = told(traces, &[("traceparent", &of_http)], &[call]) else { return };
    let (facts, links) = span(&text, "SPAN_KIND_SERVER", "tools/call echo").split_once("Links:").expect("a link");
    assert_eq!(field(facts, "Parent ID"), SENDER);
    assert_eq!((field(links, "-> Trace ID"), field(links, "-> ID")), (TRACE, CALLER));
}

#[test]
fn spans_go_over_http_too() {
    let traces =
        |[_, http]: [SocketAddr; 2]| json!({"otlp": format!("http://{http}"), "protocol": "http", "sample": 1.0});
    let Some(text) = told(traces, &[], &[call_tool(1, "echo", json!({}))]) else { return };
    assert_eq!(field(span(&text, "SPAN_KIND_CLIENT", "tools/call echo"), "Name"), "tools/call echo");
}

#[test]
fn what_went_wrong_is_told_whatever_the_share() {
    let traces = |[grpc, _]: [SocketAddr; 2]| json!({"otlp": format!("http://{grpc}"), "sample": 0.0, "errors": true});
    let wrong = call_tool(2, "add", json!({"a": "no number", "b": 1}));
    let calls = [call_tool(1, "echo", json!({})), wrong, call_tool(3, "broken", json!({}))];
    let Some(text) = told(traces, &[], &calls) else { return };
    assert!(span(&text, "SPAN_KIND_SERVER", "tools/call add").contains("mcp_guard.refusal: Str(invalid_arguments)"));
    assert!(span(&text, "SPAN_KIND_SERVER", "tools/call broken").contains("STATUS_CODE_ERROR"));
    assert!(!text.contains("tools/call echo"), "{text}");
}

#[test]
fn spans_that_nobody_takes_are_counted_and_no_call_waits_for_them() {
    let upstream = Upstream::start();
    let nobody = free_address();
    let telemetry = json!({"traces": {"otlp": format!("http://{nobody}"), "sample": 1.0}});
    let config = json!({"version": 1, "upstreams": [{"url": upstream.url()}], "guard": {"rate_limits": []}, "telemetry": telemetry});
    let guard = Guard::with_config(PROGRAM, &config.to_string());
    for id in 0..50 {
        assert_eq!(send(guard.listen, &[], call_tool(id, "echo", json!({})).to_string()).status, 200);
    }
    patiently("they are given up", || guard.metric("mcp_guard_spans_dropped_total{reason=\"failed\"}") >= 100.0);
}

#[test]
fn a_refusal_is_a_line_of_the_log_with_the_ids_of_its_trace() {
    let upstream = Upstream::start();
    let telemetry = json!({
        "logs": {"output": "stdout"},
        "traces": {"otlp": format!("http://{}", free_address()), "sample": 1.0},
    });
    let config = json!({"version": 1, "upstreams": [{"url": upstream.url()}], "telemetry": telemetry});
    let mut guard = Guard::with_config(PROGRAM, &config.to_string());
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    let wrong = call_tool(1, "add", json!({"a": "a secret", "b": 1})).to_string();
    send(guard.listen, &[("traceparent", &traceparent), ("x-request-id", "mine")], wrong);
    let lines = guard.output_until("\"message\":\"refused\"");
    let line: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&line["reason"], &line["tool"]), (&json!("invalid_arguments"), &json!("add")));
    assert_eq!((&line["trace_id"], &line["request_id"]), (&json!(TRACE), &json!("mine")));
    assert_eq!(line["span_id"].as_str().map(str::len), Some(16));
    assert!(!lines.contains("a secret"));
}

#[test]
fn lines_of_the_log_go_to_a_collector_over_both_ways() {
    let Some(peers) = Peers::find(&["collector"]) else { return };
    for (protocol, place) in [("grpc", 0), ("http", 1)] {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("lines");
        let (_collector, addresses) = peers.collector_of("logs", &log);
        let upstream = Upstream::start();
        let telemetry = json!({"logs": {"otlp": format!("http://{}", addresses[place]), "protocol": protocol}});
        let config = json!({"version": 1, "upstreams": [{"url": upstream.url()}], "telemetry": telemetry});
        let mut guard = Guard::with_config(PROGRAM, &config.to_string());
        send(guard.listen, &[], call_tool(1, "add", json!({"a": "a secret"})).to_string());
        guard.signal("TERM");
        assert_eq!(guard.wait(), Some(0));
        let lines = || std::fs::read_to_string(&log).unwrap_or_default();
        patiently("lines have arrived", || lines().contains("refused"));
        assert!(lines().contains("invalid_arguments") && !lines().contains("a secret"), "{}", lines());
    }
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
