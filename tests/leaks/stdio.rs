//! Nodes that are run by the guard.

use mcp_guard::refusal::Reason;
use mcp_guard_tests::{Guard, Session, call_tool, request, send, send_to};
use serde_json::{Value, json};

use crate::load::borrowed;
use crate::planted::Planted;
use crate::scene::{Log, Scene};
use crate::secret::Secret;
use crate::{NODE, assert_all, in_both};

pub(crate) const REASONS: &[Reason] = &[Reason::TooManySessions, Reason::SessionNotFound, Reason::UpstreamFailed];

/// A node that first says what is no message, and ends at once where a file lies at `flag`.
fn config(junk: &str, variable: &str, argument: &str) -> Value {
    let script = format!("echo '{junk} is no message'; echo '{{\"half\": \"{junk}'; exec {NODE} \"$0\"");
    let process = json!({"children": 1, "environment": {"NODE_TOKEN": variable}});
    let upstream = json!({"command": ["sh", "-c", script, argument], "process": process});
    json!({"upstreams": [upstream], "guard": {"rate_limits": []}})
}

#[test]
fn a_node_that_is_run_is_told_of_without_its_environment_arguments_and_messages() {
    in_both(|log: Log| {
        let planted = Planted::new();
        let variable = Secret::new("a variable of the node");
        let own = Secret::new("a variable of the guard");
        let argument = Secret::new("an argument of the node's command");
        let junk = Secret::new("what the node says");
        let config = config(&junk.text(), &variable.text(), &argument.text());
        let mut scene = Scene::with(log, config, &[("OWN_TOKEN", &own.text())], Guard::with_config);
        let session = Session::open(&scene.guard);
        let id = Secret::written("the id of a session", session.id());
        let replies = drive(&scene.guard, &session, &planted);
        for (reply, reason) in replies {
            scene.refused(&reply, reason);
        }
        let secrets = [planted.all(), vec![variable, own, argument, junk, id]].concat();
        assert_all(scene.end(&secrets), REASONS);
    });
}

fn drive(guard: &Guard, session: &Session<'_>, planted: &Planted) -> Vec<(mcp_guard_tests::Reply, &'static str)> {
    let mut headers = planted.headers();
    headers.push(("mcp-session-id", session.id().to_owned()));
    let call = |tool: &str| send(guard.listen, &borrowed(&headers), planted.call(1, tool).to_string());
    // A node of a session keeps what the client sent to it; a line of its standard output is its answer.
    let raw = call("raw");
    assert!(raw.text().contains(&planted.value.text()[..16]), "{}", raw.text());
    assert_eq!(call("no such tool").status, 200);
    assert_eq!(call("junk").status, 200);
    let initialize = request(
        9,
        "initialize",
        json!({"protocolVersion": "2025-11-25", "capabilities": {planted.value.text(): {}},
        "clientInfo": {"name": planted.value.text(), "version": planted.value.text()}}),
    );
    let second = send(guard.listen, &borrowed(&planted.headers()), initialize.to_string());
    let unknown = planted.session.text();
    let lost = send(guard.listen, &[("mcp-session-id", &unknown)], planted.call(2, "echo").to_string());
    let ended = send_to(guard.listen, "DELETE", "/mcp", &[("mcp-session-id", &unknown)], "");
    let crashed = call("crash");
    let again = send(guard.listen, &borrowed(&headers), call_tool(3, "pid", json!({})).to_string());
    assert_eq!(again.status, 200, "{}", again.text());
    let long = call("long_line");
    vec![
        (second, "too_many_sessions"),
        (lost, "session_not_found"),
        (ended, "session_not_found"),
        (crashed, "upstream_failed"),
        (long, "upstream_failed"),
    ]
}
