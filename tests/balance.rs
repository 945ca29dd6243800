//! Several nodes in one upstream: each gets its share, a session stays where it is, and none is missed that is gone.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::Command;

use mcp_guard_tests::peers::Peer;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Session, call_tool, free_address, patiently, request, send};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");

fn guard(urls: &[String], more: &str) -> Guard {
    Guard::with_config(PROGRAM, &format!("upstreams: [{{urls: [{}], {more}}}]", urls.join(", ")))
}

#[test]
fn calls_without_a_session_go_to_all_nodes_and_past_one_that_is_gone() {
    let (one, other) = (Upstream::start(), Upstream::start());
    let guard = guard(&[one.url(), other.url()], "health: {interval: 1h}");
    let call = || send(guard.listen, &[], call_tool(1, "echo", json!({"text": "a"})).to_string());
    for _ in 0..30 {
        assert_eq!(call().status, 200);
    }
    assert!(one.calls() >= 3 && other.calls() >= 3, "{} and {}", one.calls(), other.calls());
    assert_eq!(one.calls() + other.calls(), 30);
    drop(one);
    let before = other.calls();
    for _ in 0..15 {
        assert_eq!(call().status, 200);
    }
    assert_eq!(other.calls() - before, 15);
}

#[test]
fn a_session_of_an_http_node_stays_there() {
    let nodes = [Peer::conformance_node(NODE), Peer::conformance_node(NODE)];
    let guard = guard(&nodes.each_ref().map(Peer::url), "sessions: {failover: off}");
    let sessions: Vec<Session<'_>> = (0..8).map(|_| Session::open(&guard)).collect();
    let tags: HashSet<&str> = sessions.iter().filter_map(|session| session.id().split('.').next()).collect();
    assert_eq!(tags.len(), 2, "both nodes have sessions");
    for session in &sessions {
        assert_eq!(session.ask(2, "tools/list", json!({})).status, 200);
    }
    let stranger = [("mcp-session-id", "00000000.1")];
    let gone = send(guard.listen, &stranger, request(3, "tools/list", json!({})).to_string());
    assert_eq!((gone.status, gone.reason().as_deref()), (404, Some("session_not_found")));
}

#[test]
fn a_guard_in_front_of_one_of_several_nodes_knows_its_sessions_by_their_tags() {
    let [one, other] = [(); 2].map(|()| Peer::conformance_node(NODE));
    let both = guard(&[one.url(), other.url()], "");
    let ids: Vec<String> = (0..8).map(|_| Session::open(&both).id().to_owned()).collect();
    let alone = guard(&[one.url()], "");
    let ask = |id: &String| {
        send(alone.listen, &[("mcp-session-id", id)], request(2, "tools/list", json!({})).to_string()).status
    };
    let statuses: HashSet<u16> = ids.iter().map(ask).collect();
    assert_eq!(statuses, HashSet::from([200, 404]), "those of the other node are unknown");
}

/// Opens sessions, kills a node, and asks in each again.
fn sessions_outlive_a_node(transport: &str, url: impl Fn(&Peer) -> String) {
    let [one, other] = [(); 2].map(|()| Peer::conformance_node_over(NODE, transport));
    let more = "health: {interval: 200ms, timeout: 200ms}, sessions: {failover: reinitialize}";
    let guard = guard(&[url(&one), url(&other)], more);
    let sessions: Vec<Session<'_>> = (0..12).map(|_| Session::open(&guard)).collect();
    patiently("both nodes are well", || is_well(&guard, &one) && is_well(&guard, &other));
    let gone = one.address();
    drop(one);
    for session in &sessions {
        let answer = session.ask(2, "tools/list", json!({}));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.json()["result"]["tools"].is_array(), "{}", answer.text());
    }
    patiently("it is known which is gone", || guard.metric(&series(gone)) == 0.0 && is_well(&guard, &other));
    assert_eq!(guard.get("/readyz").map(|ready| ready.status), Some(200));
}

fn series(node: SocketAddr) -> String {
    format!("mcp_guard_upstream_healthy{{node=\"{node}\"}}")
}

fn is_well(guard: &Guard, node: &Peer) -> bool {
    guard.metric(&series(node.address())) == 1.0
}

#[test]
fn sessions_over_tcp_outlive_their_node() {
    sessions_outlive_a_node("--tcp", |node| format!("tcp://{}", node.address()));
}

#[test]
fn sessions_over_web_sockets_outlive_their_node() {
    sessions_outlive_a_node("--web-socket", |node| format!("ws://{}/mcp", node.address()));
}

#[test]
fn sessions_over_http_outlive_their_node_where_they_are_to() {
    sessions_outlive_a_node("--listen", Peer::url);
}

#[test]
fn a_session_over_http_outlives_the_restart_of_the_only_node() {
    let address = free_address();
    let start = || Peer::start(Command::new(NODE).args(["--listen", &address.to_string()]), address);
    let node = start();
    let guard = guard(&[node.url()], "sessions: {failover: reinitialize}");
    let session = Session::open(&guard);
    assert_eq!(session.ask(2, "tools/list", json!({})).status, 200);
    drop(node);
    let _node = start();
    // The node that is there now has never heard of it.
    let answer = session.ask(3, "tools/list", json!({}));
    assert!(answer.json()["result"]["tools"].is_array(), "{}", answer.text());
    let unsafe_call = session.ask(4, "tools/call", json!({"name": "add", "arguments": {"a": 1, "b": 2}}));
    assert_eq!(unsafe_call.json()["result"]["content"][0]["text"], "3", "{}", unsafe_call.text());
}

#[test]
fn a_session_that_was_opened_with_credentials_is_not_there_for_who_has_none() {
    let node = Peer::conformance_node(NODE);
    let guard = guard(&[node.url()], "sessions: {failover: reinitialize}");
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
    let token = ("authorization", "Bearer a");
    let opened = send(guard.listen, &[token], request(1, "initialize", params).to_string());
    let session = ("mcp-session-id", opened.header("mcp-session-id").expect("a session"));
    let ping = || request(2, "ping", json!({})).to_string();
    assert_eq!(send(guard.listen, &[session, token], ping()).status, 200);
    let gone = send(guard.listen, &[session], ping());
    assert_eq!((gone.status, gone.reason().as_deref()), (404, Some("session_not_found")));
    // Whether another token is as good, the node says.
    assert_eq!(send(guard.listen, &[session, ("authorization", "Bearer b")], ping()).status, 200);
}

#[test]
fn calls_in_sessions_of_a_dead_node_do_not_stop_those_of_the_others() {
    let [one, other] = [(); 2].map(|()| Peer::conformance_node(NODE));
    let guard = guard(&[one.url(), other.url()], "health: {interval: 1h}");
    let sessions: Vec<Session<'_>> = (0..8).map(|_| Session::open(&guard)).collect();
    let tag = |session: &Session<'_>| session.id().split('.').next().map(str::to_owned);
    drop(one);
    let statuses: Vec<(Option<String>, u16)> = (0..4)
        .flat_map(|_| &sessions)
        .map(|session| (tag(session), session.ask(2, "tools/list", json!({})).status))
        .collect();
    let alive: HashSet<_> = statuses.iter().filter(|(_, status)| *status == 200).map(|(tag, _)| tag.clone()).collect();
    assert_eq!(alive.len(), 1, "{statuses:?}");
    let is_told = |(tag, status): &(Option<String>, u16)| *status == if alive.contains(tag) { 200 } else { 503 };
    assert!(statuses.iter().all(is_told), "{statuses:?}");
}
