//! Other nodes while the guard runs.

use std::sync::atomic::{AtomicBool, Ordering};

use mcp_guard_tests::peers::Peer;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Reply, Session, call_tool, patiently, send};
use serde_json::{Value, json};

use crate::{APPLIED, PROGRAM, STDIO_NODE};

const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");

/// A guard in front of what this says.
fn guard(upstream: &Value) -> Guard {
    Guard::with_config(PROGRAM, &yaml(upstream))
}

fn yaml(upstream: &Value) -> String {
    json!({"version": 1, "upstreams": [upstream], "guard": {"rate_limits": []}}).to_string()
}

fn reload(guard: &Guard, upstream: &Value) {
    guard.reconfigure(&yaml(upstream));
    let reply = guard.order("/reload");
    assert_eq!((reply.status, &reply.json()["status"]), (200, &json!("applied")), "{}", reply.text());
}

fn echo(guard: &Guard) -> Reply {
    send(guard.listen, &[], call_tool(1, "echo", json!({"text": "a"})).to_string())
}

/// The tools that a session has.
fn tools(session: &Session<'_>) -> usize {
    let answer = session.ask(2, "tools/list", json!({}));
    answer.json()["result"]["tools"].as_array().unwrap_or_else(|| panic!("no tools: {}", answer.text())).len()
}

/// The nodes at `/status`, and whether they leave.
fn nodes(guard: &Guard) -> Vec<(String, bool)> {
    let status = guard.get("/status").expect("a status").json();
    let node = |node: &Value| (node["node"].as_str().unwrap_or_default().to_owned(), node["leaving"] == true);
    status["nodes"].as_array().into_iter().flatten().map(node).collect()
}

#[test]
fn calls_go_to_the_new_node_and_nothing_is_told_of_the_old_one() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let health = json!({"interval": "100ms", "timeout": "100ms"});
    let guard = guard(&json!({"url": one.url(), "health": health}));
    let healthy = |node: &Upstream| format!("mcp_guard_upstream_healthy{{node=\"{}\"}} 1", node.address);
    let breaker = |node: &Upstream| format!("mcp_guard_breaker_state{{node=\"{}\",tool=\"\"}} 0", node.address);
    let metrics = || guard.get("/metrics").expect("metrics").text();
    patiently("the first is well", || metrics().contains(&healthy(&one)));
    assert_eq!((echo(&guard).status, one.calls()), (200, 1));
    reload(&guard, &json!({"url": other.url(), "health": health}));
    assert_eq!(echo(&guard).status, 200);
    assert_eq!((one.calls(), other.calls()), (1, 1));
    patiently("the other is well", || metrics().contains(&healthy(&other)));
    assert!(metrics().contains(&breaker(&other)) && !metrics().contains(&breaker(&one)));
    let address = one.address.to_string();
    drop(one);
    patiently("the first is forgotten", || nodes(&guard) == [(other.address.to_string(), false)]);
    assert!(!metrics().contains(&address), "{}", metrics());
    assert_eq!(guard.get("/readyz").map(|ready| ready.status), Some(200));
}

#[test]
fn a_session_of_an_http_node_goes_on_there_when_the_node_is_no_longer_listed() {
    let [one, other] = [(); 2].map(|()| Peer::conformance_node(NODE));
    let health = json!({"interval": "100ms", "timeout": "100ms"});
    let guard = guard(&json!({"url": one.url(), "health": health}));
    let first = Session::open(&guard);
    patiently("it is well", || guard.get("/readyz").is_some_and(|ready| ready.status == 200));
    reload(&guard, &json!({"urls": [one.url(), other.url()], "health": health}));
    tools(&first);
    let shared: Vec<Session<'_>> = (0..8).map(|_| Session::open(&guard)).collect();
    reload(&guard, &json!({"url": other.url(), "health": health}));
    let alone: Vec<Session<'_>> = (0..8).map(|_| Session::open(&guard)).collect();
    for session in shared.iter().chain(&alone).chain([&first]) {
        tools(session);
    }
    assert_eq!(nodes(&guard), [(other.address().to_string(), false), (one.address().to_string(), true)]);
    drop(one);
    patiently("it is forgotten", || nodes(&guard) == [(other.address().to_string(), false)]);
    alone.iter().for_each(|session| assert!(tools(session) > 0));
    let gone = first.ask(3, "tools/list", json!({}));
    assert_eq!((gone.status, gone.reason().as_deref()), (404, Some("session_not_found")));
}

#[test]
fn a_session_that_is_a_connection_stays_where_it_is_and_moves_when_that_is_gone() {
    let [one, other] = [(); 2].map(|()| Peer::conformance_node_over(NODE, "--tcp"));
    let url = |node: &Peer| format!("tcp://{}", node.address());
    let guard = guard(&json!({"url": url(&one)}));
    let session = Session::open(&guard);
    reload(&guard, &json!({"url": url(&other)}));
    assert_eq!(nodes(&guard), [(other.address().to_string(), false)]);
    assert!(tools(&session) > 0 && tools(&Session::open(&guard)) > 0);
    let failovers = || guard.metric("mcp_guard_session_failovers_total{outcome=\"reinitialized\"}");
    assert_eq!(failovers(), 0.0);
    drop(one);
    patiently("it has moved", || failovers() == 1.0);
    assert!(tools(&session) > 0);
}

#[test]
fn sessions_to_come_get_the_new_program() {
    let guard = guard(&json!({"command": [STDIO_NODE]}));
    let before = Session::open(&guard);
    reload(&guard, &json!({"command": [NODE, "--stdio"], "process": {"start_timeout": "9s"}}));
    let after = Session::open(&guard);
    assert!(tools(&before) == 1 && tools(&after) > 1);
    assert_eq!(nodes(&guard), [(NODE.to_owned(), false)]);
}

#[test]
fn another_time_out_counts_for_calls_to_come() {
    let node = Upstream::start();
    let guard = guard(&json!({"url": node.url(), "timeouts": {"total": "1h"}}));
    reload(&guard, &json!({"url": node.url(), "timeouts": {"first_byte": "50ms"}}));
    let late = send(guard.listen, &[], call_tool(1, "hold", json!({})).to_string());
    assert_eq!(late.reason().as_deref(), Some("deadline_exceeded"));
}

#[test]
fn nodes_that_cannot_be_called_leave_the_old_ones() {
    let node = Upstream::start();
    let guard = guard(&json!({"url": node.url()}));
    let secure = json!({"url": "https://127.0.0.1:1/mcp", "tls": {"ca": "/nowhere/ca.pem"}});
    guard.reconfigure(&yaml(&secure));
    let reply = guard.order("/reload");
    let problem = reply.json()["problems"][0].as_str().unwrap_or_default().to_owned();
    assert_eq!(reply.status, 422);
    assert!(problem.contains("upstreams[0].tls.ca") && problem.contains("/nowhere/ca.pem"), "{problem}");
    assert_eq!((echo(&guard).status, node.calls()), (200, 1));
}

#[test]
fn nodes_that_come_and_go_under_load_lose_no_call_and_no_session() {
    let nodes = [(); 3].map(|()| Peer::conformance_node(NODE));
    let urls: Vec<String> = nodes.iter().map(Peer::url).collect();
    let guard = guard(&json!({"urls": urls}));
    let is_over = AtomicBool::new(false);
    let calls: usize = std::thread::scope(|scope| {
        let client = || {
            let session = Session::open(&guard);
            let mut calls = 0;
            while !is_over.load(Ordering::Relaxed) {
                let answer = session.ask(calls, "tools/list", json!({}));
                assert_eq!((answer.status, &answer.json()["id"]), (200, &json!(calls)), "{}", answer.text());
                calls += 1;
            }
            usize::try_from(calls).expect("few")
        };
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(client)).collect();
        for round in 0..100 {
            let some: Vec<&String> =
                urls.iter().enumerate().filter(|(at, _)| at != &(round % 3)).map(|(_, url)| url).collect();
            let before = guard.metric(APPLIED);
            guard.reconfigure(&yaml(&json!({"urls": some})));
            guard.signal("HUP");
            patiently("it is taken over", || guard.metric(APPLIED) > before);
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("no call is lost")).sum()
    });
    println!("{calls} calls during {} reloads", guard.metric(APPLIED));
    assert!(calls > 100 && guard.metric(APPLIED) >= 100.0);
}
