//! The examples do what they say: each is run as a process, and its protection seen over a real socket.

use mcp_guard_tests::example::Example;
use mcp_guard_tests::{Guard, Reply, call_tool, patiently, request, send, send_to};
use serde_json::{Value, json};

fn text(reply: &Reply) -> String {
    reply.json()["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

/// Calls until one is refused, which may take some more than the burst: time goes on meanwhile.
#[track_caller]
fn assert_limited(mut call: impl FnMut() -> Reply) {
    let refused = (0..200).map(|_| call()).find(|reply| reply.status == 429).expect("a refusal");
    assert_eq!(refused.reason().as_deref(), Some("rate_limited"));
    assert!(refused.header("retry-after").is_some());
}

#[test]
fn the_axum_server_is_guarded_as_a_whole() {
    let server = Example::run(env!("CARGO_BIN_EXE_example-axum-server"));
    let add = |b: Value| send(server.address, &[], call_tool(1, "add", json!({"a": 1, "b": b})).to_string());
    let bad = add(json!("two"));
    assert_eq!(bad.reason().as_deref(), Some("invalid_arguments"), "{}", bad.text());
    assert!(bad.text().contains("/b"));
    assert_eq!(text(&add(json!(2))), "3");
    let large = send(server.address, &[], vec![b' '; (64 << 10) + 1]);
    assert_eq!((large.status, large.reason().as_deref()), (413, Some("payload_too_large")));
    assert_limited(|| add(json!(2)));
    assert_eq!(send_to(server.address, "GET", "/", &[], "").text(), "MCP is at /mcp");
}

#[test]
fn one_layer_limits_a_client_over_its_connections() {
    let server = Example::run(env!("CARGO_BIN_EXE_example-one-layer"));
    let ping = || send(server.address, &[], request(1, "ping", json!({})).to_string());
    assert_eq!([ping().status, ping().status], [200, 200]);
    let refused = ping();
    assert_eq!(refused.status, 429, "{}", refused.text());
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
}

#[test]
fn a_custom_key_tells_customers_apart_and_not_their_keys() {
    let server = Example::run(env!("CARGO_BIN_EXE_example-custom-key"));
    let call =
        |key, tool| send(server.address, &[("x-api-key", key)], call_tool(1, tool, json!({})).to_string()).status;
    assert_eq!(call("ada-1815", "report"), 200);
    assert_eq!(call("ada-1816", "report"), 429, "another key of the same customer");
    assert_eq!(call("ada-1816", "summary"), 200, "another tool");
    assert_eq!(call("grace-1906", "report"), 200, "another customer");
    assert_eq!([call("made-up-1", "report"), call("made-up-2", "report")], [200, 429], "no customer");
}

#[test]
fn a_sidecar_gives_each_session_a_stdio_server_of_its_own() {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/sidecar_stdio/guard.yaml");
    let server = env!("CARGO_BIN_EXE_example-stdio-server");
    let guard = Guard::run(env!("CARGO_BIN_EXE_guard-under-test"), &["-c", config, "--", server]);
    let (one, other) = (open(&guard), open(&guard));
    let count = |session: &str| {
        send(guard.listen, &[("mcp-session-id", session)], call_tool(2, "count", json!({})).to_string())
    };
    assert_eq!([text(&count(&one)), text(&count(&one)), text(&count(&other))], ["1", "2", "1"]);
    assert_limited(|| count(&one));
    assert_eq!(text(&count(&other)), "2", "a session that has allowance left");
    assert_eq!(guard.children().len(), 2);
    send_to(guard.listen, "DELETE", "/mcp", &[("mcp-session-id", &one)], "");
    patiently("its process is gone", || guard.children().len() == 1);
}

fn open(guard: &Guard) -> String {
    let client = json!({"name": "test", "version": "0"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let reply = send(guard.listen, &[], request(1, "initialize", params).to_string());
    let session = reply.header("mcp-session-id").expect("a session").to_owned();
    let done = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(send(guard.listen, &[("mcp-session-id", &session)], done).status, 202);
    session
}
