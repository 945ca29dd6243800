//! Nodes over the transports with a connection for each session.

use mcp_guard_tests::peers::Peer;
use mcp_guard_tests::{Session, free_address, send};
use serde_json::json;

use crate::in_both;
use crate::load::borrowed;
use crate::planted::Planted;
use crate::scene::{Log, Scene};
use crate::secret::Secret;

const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");

/// A tool of that node which takes any arguments.
pub(crate) const TOOL: &str = "test_simple_text";

#[test]
fn a_node_over_a_web_socket_gives_nothing_away() {
    in_both(|log| over(log, "--web-socket", "ws", "mcp"));
}

#[test]
fn a_node_over_a_stream_of_events_gives_nothing_away() {
    in_both(|log| over(log, "--sse", "sse+http", "sse"));
}

/// A session with the node over what `flag` asks it for, whose URL has a query.
fn over(log: Log, flag: &str, scheme: &str, path: &str) {
    let query = Secret::new("the query of the node's URL");
    let node = Peer::conformance_node_over(NODE, flag);
    session(log, &format!("{scheme}://{}/{path}?key={}", node.address(), query.text()), node, query);
}

#[test]
fn a_node_over_tcp_gives_nothing_away() {
    in_both(|log| {
        let node = Peer::conformance_node_over(NODE, "--tcp");
        session(log, &format!("tcp://{}", node.address()), node, Secret::new("nothing"));
    });
}

/// A call of a session with the node at `url`, one that is refused, and one when the node is gone.
fn session(log: Log, url: &str, node: Peer, query: Secret) {
    let planted = Planted::new();
    let guard = json!({"rate_limits": [], "retry": {"attempts": 1}});
    let sessions = json!({"failover": "off"});
    let mut scene = Scene::start(log, json!({"upstreams": [{"url": url, "sessions": sessions}], "guard": guard}));
    let session = Session::open(&scene.guard);
    let id = Secret::written("the id of a session", session.id());
    let mut headers = planted.headers();
    headers.push(("mcp-session-id", session.id().to_owned()));
    let call = |tool: &str| send(scene.guard.listen, &borrowed(&headers), planted.call(1, tool).to_string());
    let answered = call(TOOL);
    assert!(answered.reason().is_none() && answered.json()["result"].is_object(), "{}", answered.text());
    let wrong = call("add");
    drop(node);
    let gone = call(TOOL);
    let reason = gone.reason().expect("a refusal");
    scene.refused(&wrong, "invalid_arguments");
    scene.refused(&gone, &reason);
    let opened = mcp_guard_tests::request(
        3,
        "initialize",
        json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": planted.value.text(), "version": "0"}}),
    );
    let opened = send(scene.guard.listen, &borrowed(&planted.headers()), opened.to_string());
    scene.refused(&opened, "upstream_unavailable");
    scene.end(&[planted.all(), vec![query, id]].concat());
}

#[test]
fn a_node_that_was_never_there_gives_nothing_away() {
    in_both(|log| {
        let (planted, query) = (Planted::new(), Secret::new("the query of the node's URL"));
        let url = format!("ws://{}/mcp?key={}", free_address(), query.text());
        let mut scene = Scene::unready(log, json!({"upstreams": [{"url": url}], "guard": {"retry": {"attempts": 1}}}));
        let opened = mcp_guard_tests::request(
            3,
            "initialize",
            json!({"protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": planted.value.text(), "version": "0"}}),
        );
        let opened = send(scene.guard.listen, &borrowed(&planted.headers()), opened.to_string());
        scene.refused(&opened, "upstream_unavailable");
        scene.end(&[planted.all(), vec![query]].concat());
    });
}
