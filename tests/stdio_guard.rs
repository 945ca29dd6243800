//! `mcp-guard run -- COMMAND`: a stdio node behind the whole guard, over a real socket.

use mcp_guard_tests::{Guard, Reply, call_tool, patiently, request, send, send_to};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_stdio-node");

fn guarded(upstream: Value, guard: Value) -> Guard {
    let mut node = json!({"command": [NODE]});
    if let (Some(node), Some(more)) = (node.as_object_mut(), upstream.as_object()) {
        node.extend(more.clone());
    }
    Guard::with_config(PROGRAM, &json!({"version": 1, "upstreams": [node], "guard": guard}).to_string())
}

fn initialize(guard: &Guard) -> Reply {
    let client = json!({"name": "test", "version": "0"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    send(guard.listen, &[], request(1, "initialize", params).to_string())
}

/// Opens a session and says which.
fn open(guard: &Guard) -> String {
    let reply = initialize(guard);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let session = reply.header("mcp-session-id").expect("a session").to_owned();
    let done = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(send(guard.listen, &[("mcp-session-id", &session)], done).status, 202);
    session
}

fn post(guard: &Guard, session: &str, body: impl AsRef<[u8]>) -> Reply {
    send(guard.listen, &[("mcp-session-id", session)], body)
}

#[track_caller]
fn assert_serves(guard: &Guard, session: &str) {
    let reply = post(guard, session, call_tool(99, "echo", json!({"text": "still here"})).to_string());
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.json()["result"]["content"].is_array(), "{}", reply.text());
}

#[track_caller]
fn assert_refused(reply: &Reply, reason: &str, status: u16, code: i64) {
    assert_eq!(reply.reason().as_deref(), Some(reason), "{}", reply.text());
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (status, &json!(code)));
}

#[test]
fn hostile_messages_get_their_refusal_and_the_node_lives_on() {
    let guard = guarded(json!({"profile": "erlmcp"}), json!({"limits": {"body": "64KiB"}}));
    let session = open(&guard);
    let check = |body: &[u8], reason, status, code| {
        assert_refused(&post(&guard, &session, body), reason, status, code);
        assert_serves(&guard, &session);
    };
    check(br#"{"jsonrpc":"2.0","id":2,"method":"tools/call"}"#, "invalid_params", 200, -32602);
    check(br#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":[]}"#, "invalid_params", 200, -32602);
    check(
        br#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"echo","arguments":7}}"#,
        "invalid_params",
        200,
        -32602,
    );
    let batch = br#"[{"jsonrpc":"2.0","id":2,"method":"initialize","params":{}}]"#;
    check(batch, "invalid_request", 400, -32600);
    check(&[b"[".repeat(1000), b"]".repeat(1000)].concat(), "parse_error", 400, -32700);
    check(&b" ".repeat((64 << 10) + 1), "payload_too_large", 413, 1068);
    check(b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"\xc3\x28\"}", "parse_error", 400, -32700);
    check(br#"{"jsonrpc":"2.0","id":2,"method":"ping","method":"tools/call"}"#, "invalid_request", 400, -32600);
    check(br#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#, "invalid_request", 400, -32600);
    check(br#"{"jsonrpc":"2.0","id":"nobody asked","result":{}}"#, "invalid_request", 400, -32600);
    check(b"{not json", "parse_error", 400, -32700);
    check(br#"{"id":2,"method":"ping"}"#, "invalid_request", 400, -32600);
    check(br#"{"jsonrpc":"2.0","id":2,"method":7}"#, "invalid_request", 400, -32600);
    assert_eq!(guard.children().len(), 1);
}

#[test]
fn a_node_killed_during_a_call_is_told_and_its_session_goes_on() {
    let guard = guarded(json!({}), json!({}));
    let session = open(&guard);
    let child = guard.children()[0];
    // The guard lists the tools before the first call; what is in flight after that is the call itself.
    assert_serves(&guard, &session);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| post(&guard, &session, call_tool(2, "silent", json!({})).to_string()));
        patiently("the call is with the node", || guard.metric("mcp_guard_in_flight") == 1.0);
        mcp_guard_tests::kill(child, "KILL");
        assert_refused(&call.join().unwrap(), "upstream_failed", 502, 1067);
    });
    assert_serves(&guard, &session);
    assert_eq!(guard.metric("mcp_guard_session_failovers_total{outcome=\"reinitialized\"}"), 1.0);
    assert_ne!(guard.children(), [child]);
}

#[test]
fn a_hundred_sessions_opened_and_closed_leave_no_child() {
    let guard = guarded(json!({}), json!({"rate_limits": []}));
    for _ in 0..100 {
        let session = open(&guard);
        let reply = send_to(guard.listen, "DELETE", "/mcp", &[("mcp-session-id", &session)], "");
        assert_eq!(reply.status / 100, 2);
    }
    patiently("all children are gone", || guard.children().is_empty());
    assert_eq!(guard.metric("mcp_guard_sessions"), 0.0);
}

#[test]
fn one_session_too_many_is_refused_with_a_wait() {
    let guard = guarded(json!({"process": {"children": 1}}), json!({}));
    let _session = open(&guard);
    let reply = initialize(&guard);
    assert_refused(&reply, "too_many_sessions", 503, 1060);
    assert!(reply.header("retry-after").is_some());
}

#[test]
fn no_child_outlives_a_guard_that_is_killed() {
    let mut guard = guarded(json!({}), json!({}));
    let _session = open(&guard);
    let child = guard.children()[0];
    guard.signal("KILL");
    guard.wait();
    patiently("the child is gone", || !is_running(child));
}

#[test]
fn sigterm_ends_the_children_and_the_guard() {
    let mut guard = guarded(json!({}), json!({}));
    let _session = open(&guard);
    let child = guard.children()[0];
    guard.signal("TERM");
    assert_eq!(guard.wait(), Some(0));
    assert!(!is_running(child));
}

/// Whether there is such a process, and not only its entry that nobody has read.
fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The soft limit of open files of a process, as the kernel writes it.
fn open_files(pid: u32) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let mut words = line.split_whitespace().skip(3).map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

#[test]
fn the_guard_raises_its_limit_of_open_files_and_not_that_of_its_children() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("guard");
    std::fs::write(&script, format!("#!/bin/sh\nulimit -Sn 512\nexec {PROGRAM} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = json!({"version": 1, "upstreams": [{"command": [NODE]}]});
    let guard = Guard::with_config(script.to_str().unwrap(), &config.to_string());
    let (soft, hard) = open_files(guard.pid());
    assert_eq!(soft, hard);
    open(&guard);
    let children = guard.children();
    assert!(!children.is_empty());
    assert!(children.iter().all(|child| open_files(*child).0 == "512"));
}
