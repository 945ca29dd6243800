//! Nodes over HTTP that fail, hang or are gone.

use mcp_guard::refusal::Reason;
use mcp_guard_tests::request;
use serde_json::{Value, json};

use crate::failing_node::{FailingNode, PASSED, TOOLS};
use crate::load::ask;
use crate::planted::Planted;
use crate::scene::Scene;
use crate::secret::Secret;
use crate::{assert_all, in_both};

pub(crate) const REASONS: &[Reason] = &[Reason::UpstreamFailed, Reason::DeadlineExceeded, Reason::UpstreamUnavailable];
pub(crate) const REASONS_OF_A_BREAKER: &[Reason] = &[Reason::UpstreamFailed, Reason::BreakerOpen];

/// A guard of the node at `url` that gives up soon, and whose breaker trips at `failures`.
fn config(url: &str, failures: u32, results: &str) -> Value {
    let guard = json!({
        "rate_limits": [], "retry": {"attempts": 2, "base": "1ms"}, "limits": {"response": "16KiB"},
        "validation": {"results": results}, "tools": [{"name": "hang", "timeout": "300ms"}],
        "breaker": {"consecutive_failures": failures, "minimum_calls": 1000},
    });
    json!({"upstreams": [{"url": url}], "guard": guard})
}

#[test]
fn a_node_that_fails_is_told_of_without_what_it_said_or_was_asked() {
    in_both(|log| {
        let (planted, result, query) =
            (Planted::new(), Secret::new("what the node says"), Secret::new("the query of the node's URL"));
        let node = FailingNode::start(result.clone());
        let url = format!("{}?key={}", node.url(), query.text());
        let mut scene = Scene::start(log, config(&url, 1000, "report"));
        for tool in TOOLS {
            let mut reply = ask(&scene.guard, &planted, &planted.call(7, tool));
            if tool == "bad_event" {
                // Events are passed on as they come; what is refused is that none of them was the answer.
                reply.body = reply.json().to_string().into_bytes();
            }
            match reply.reason() {
                Some(reason) => scene.refused(&reply, &reason),
                // The answer itself is passed on, to the one who asked.
                None => assert!(["not_json", "wrong_id", "status"].contains(&tool), "{tool}: {}", reply.text()),
            }
        }
        for tool in PASSED.iter().chain(&["bad_type", "bad_pattern", "bad_reference", "far_reference"]) {
            let reply = ask(&scene.guard, &planted, &planted.call(7, tool));
            assert_eq!(reply.reason(), None, "{tool}: {}", reply.text());
        }
        for (method, params) in resources(&planted) {
            assert_eq!(ask(&scene.guard, &planted, &request(8, method, params)).status, 200);
        }
        let seen = node.seen();
        let is_passed_on =
            |secret: &&Secret| !["`Mcp-Session-Id`", "the query of the request"].contains(&secret.place());
        for secret in planted.all().iter().filter(is_passed_on) {
            assert!(seen.contains(&secret.text()[..12]), "{} reached no node", secret.place());
        }
        drop(node);
        let gone = ask(&scene.guard, &planted, &planted.call(7, "error"));
        scene.refused(&gone, "upstream_unavailable");
        let came = scene.end(&[planted.all(), vec![result, query]].concat());
        assert_all(came, REASONS);
    });
}

/// What is asked of resources, whose URIs have secrets where programs put them.
fn resources(planted: &Planted) -> [(&'static str, Value); 2] {
    let (secret, query) = (planted.value.text(), planted.query.text());
    let uri = format!("postgres://me:{secret}@db.example/table?token={query}#{secret}");
    [("resources/read", json!({"uri": uri})), ("resources/subscribe", json!({"uri": format!("file:///a?{secret}")}))]
}

#[test]
fn a_node_that_is_spared_and_results_that_are_refused_are_told_without_what_they_hold() {
    in_both(|log| {
        let (planted, result) = (Planted::new(), Secret::new("what the node says"));
        let node = FailingNode::start(result.clone());
        let mut scene = Scene::start(log, config(&node.url(), 3, "enforce"));
        let wrong = ask(&scene.guard, &planted, &planted.call(7, "bad_result"));
        scene.tell("an answer", wrong.text());
        assert!(wrong.text().contains("upstream_failed"), "{}", wrong.text());
        let replies: Vec<_> = (0..4).map(|_| ask(&scene.guard, &planted, &planted.call(7, "cut_body"))).collect();
        for (reply, reason) in replies.iter().zip(["upstream_failed"; 3].iter().chain(&["breaker_open"])) {
            scene.refused(reply, reason);
        }
        let came = scene.end(&[planted.all(), vec![result]].concat());
        assert_all(came, REASONS_OF_A_BREAKER);
    });
}
