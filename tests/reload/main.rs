//! Another config while the guard runs: what it takes over, what it keeps, and what it refuses.

mod nodes;

use std::sync::atomic::{AtomicBool, Ordering};

use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Session, Wire, call_tool, patiently, send};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const STDIO_NODE: &str = env!("CARGO_BIN_EXE_stdio-node");
const APPLIED: &str = "mcp_guard_config_reloads_total{outcome=\"applied\"}";
const REJECTED: &str = "mcp_guard_config_reloads_total{outcome=\"rejected\"}";

/// What a file with this `guard` section says, for a guard in front of `node`.
fn yaml(node: &Upstream, guard: &Value) -> String {
    json!({"version": 1, "upstreams": [{"url": node.url()}], "guard": guard}).to_string()
}

fn guarded(guard: &Value) -> (Guard, Upstream) {
    let node = Upstream::start();
    (Guard::with_config(PROGRAM, &yaml(&node, guard)), node)
}

fn call(guard: &Guard, tool: &str) -> Option<String> {
    send(guard.listen, &[], call_tool(1, tool, json!({})).to_string()).reason()
}

/// A limit of `burst` calls and hardly any more.
fn limited(burst: u32) -> Value {
    json!({"rate_limits": [{"name": "all", "key": [], "match": {"method": "tools/call"}, "rate": "1/h", "burst": burst}]})
}

#[test]
fn a_changed_file_counts_without_being_asked() {
    let (guard, node) = guarded(&limited(1));
    assert_eq!(call(&guard, "echo"), None);
    assert_eq!(call(&guard, "echo").as_deref(), Some("rate_limited"));
    guard.reconfigure(&yaml(&node, &limited(3)));
    patiently("it is taken over", || guard.metric(APPLIED) > 0.0);
    assert_eq!(call(&guard, "echo"), None);
    let status = guard.get("/status").unwrap().json();
    assert_eq!(status["config"]["generation"], 2);
    assert_eq!(status["config"]["rejected"], Value::Null);
    assert_eq!(guard.get("/config").unwrap().json()["guard"]["rate_limits"][0]["burst"], 3);
}

#[test]
fn a_hangup_and_a_post_reload_too() {
    let (guard, node) = guarded(&json!({}));
    assert_eq!(guard.order("/reload").json(), json!({"status": "unchanged"}));
    guard.reconfigure(&yaml(&node, &json!({"limits": {"body": "1KiB"}})));
    let reply = guard.order("/reload");
    assert_eq!((reply.status, reply.json()), (200, json!({"status": "applied", "changed": ["guard.limits.body"]})));
    assert_eq!(call_of_bytes(&guard, 2000).as_deref(), Some("payload_too_large"));
    guard.reconfigure(&yaml(&node, &json!({"limits": {"body": "1MiB"}})));
    guard.signal("HUP");
    patiently("it is taken over", || guard.metric(APPLIED) >= 2.0);
    assert_eq!(call_of_bytes(&guard, 2000), None);
}

fn call_of_bytes(guard: &Guard, bytes: usize) -> Option<String> {
    send(guard.listen, &[], call_tool(1, "echo", json!({"text": "a".repeat(bytes)})).to_string()).reason()
}

#[test]
fn a_kept_connection_meets_the_new_config() {
    let (guard, node) = guarded(&json!({}));
    let mut kept = Wire::connect(guard.listen);
    let body = call_tool(1, "echo", json!({"text": "a".repeat(2000)})).to_string();
    let mut call = || {
        let head = "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length:";
        kept.write(format!("{head} {}\r\n\r\n{body}", body.len()));
        kept.message().status
    };
    assert_eq!(call(), 200);
    guard.reconfigure(&yaml(&node, &json!({"limits": {"body": "1KiB"}})));
    assert_eq!(guard.order("/reload").status, 200);
    assert_eq!(call(), 413);
}

#[test]
fn a_call_in_flight_ends_by_the_config_it_began_with() {
    let (guard, node) = guarded(&json!({}));
    std::thread::scope(|scope| {
        let held = scope.spawn(|| call(&guard, "hold"));
        patiently("it has arrived", || node.calls() == 1);
        guard.reconfigure(&yaml(&node, &json!({"limits": {"response": "1B"}, "queue": {"concurrency": 7}})));
        assert_eq!(guard.order("/reload").status, 200);
        assert_eq!(call(&guard, "echo").as_deref(), Some("upstream_failed"), "the new one is cut");
        node.release(1);
        assert_eq!(held.join().unwrap(), None);
    });
}

#[test]
fn what_was_spent_stays_spent_under_a_rule_that_is_the_same() {
    let (guard, node) = guarded(&limited(1));
    assert_eq!(call(&guard, "echo"), None);
    let mut next = limited(1);
    next["limits"] = json!({"batch": 7});
    guard.reconfigure(&yaml(&node, &next));
    assert_eq!(guard.order("/reload").json()["changed"], json!(["guard.limits.batch"]));
    assert_eq!(call(&guard, "echo").as_deref(), Some("rate_limited"));
}

#[test]
fn what_is_tripped_stays_tripped_under_another_policy() {
    let (guard, node) =
        guarded(&json!({"breaker": {"consecutive_failures": 2, "open": "1h"}, "retry": {"attempts": 1}}));
    for _ in 0..2 {
        assert_eq!(call(&guard, "broken").as_deref(), Some("upstream_failed"));
    }
    assert_eq!(call(&guard, "broken").as_deref(), Some("breaker_open"));
    guard.reconfigure(&yaml(
        &node,
        &json!({"breaker": {"consecutive_failures": 9, "open": "1h"}, "retry": {"attempts": 1}}),
    ));
    assert_eq!(guard.order("/reload").json()["status"], "applied");
    assert_eq!(call(&guard, "broken").as_deref(), Some("breaker_open"));
}

#[test]
fn a_bad_file_changes_nothing_and_is_told() {
    let (guard, node) = guarded(&limited(1));
    guard.reconfigure("version: 1\nupstreams: [{url: http://127.0.0.1:1/mcp}]\nguard: {limits: {bodi: 1KiB}}\n");
    patiently("it is refused", || guard.metric(REJECTED) > 0.0);
    assert!(guard.metric("mcp_guard_config_rejected") > 0.0);
    let rejected = guard.get("/status").unwrap().json()["config"]["rejected"].as_str().unwrap().to_owned();
    assert!(rejected.contains("guard.yaml:3:18: guard.limits.bodi: "), "{rejected}");
    assert_eq!(call(&guard, "echo"), None);
    assert_eq!(call(&guard, "echo").as_deref(), Some("rate_limited"), "the one before still counts");
    guard.reconfigure(&yaml(&node, &limited(1)));
    patiently("it is well again", || guard.metric("mcp_guard_config_rejected") < 1.0);
}

#[test]
fn what_cannot_change_is_refused_as_a_whole() {
    let (guard, node) = guarded(&limited(1));
    let other = Upstream::start();
    let moved = json!({"version": 1, "upstreams": [{"url": other.url(), "era": "legacy"}], "guard": limited(2)});
    guard.reconfigure(&moved.to_string());
    let reply = guard.order("/reload");
    assert_eq!(reply.status, 422);
    let problems = reply.json()["problems"].clone();
    let problem = problems[0].as_str().unwrap();
    assert!(problem.contains("upstreams[0].era: ") && problem.contains("restart"), "{problem}");
    assert_eq!(call(&guard, "echo"), None);
    assert_eq!(call(&guard, "echo").as_deref(), Some("rate_limited"));
    assert_eq!((node.calls(), other.calls()), (1, 0));
}

/// The bar of issue 5. The sessions are the guard's own, each with a child that knows its id.
#[test]
fn five_hundred_reloads_under_load_lose_no_call_and_no_session() {
    let yaml = |number: usize| {
        let guard = json!({"rate_limits": [], "limits": {"json_depth": number}, "queue": {"waiting": number}});
        json!({"version": 1, "upstreams": [{"command": [STDIO_NODE]}], "guard": guard}).to_string()
    };
    let guard = Guard::with_config(PROGRAM, &yaml(64));
    let is_over = AtomicBool::new(false);
    let calls: usize = std::thread::scope(|scope| {
        let client = || {
            let session = Session::open(&guard);
            let call = |id| session.post(call_tool(id, "pid", json!({})).to_string()).json();
            let child = call(1)["result"].clone();
            let mut calls = 1;
            while !is_over.load(Ordering::Relaxed) {
                calls += 1;
                let answer = call(calls);
                assert_eq!((&answer["id"], &answer["result"]), (&json!(calls), &child), "{answer}");
            }
            usize::try_from(calls).expect("few")
        };
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(client)).collect();
        for round in 1..=500 {
            guard.reconfigure(&yaml(64 + round % 2));
            let before = guard.metric(APPLIED);
            guard.signal("HUP");
            patiently("it is taken over", || guard.metric(APPLIED) > before);
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("no call is lost")).sum()
    });
    println!("{calls} calls during {} reloads", guard.metric(APPLIED));
    assert!(calls > 500 && guard.metric(APPLIED) >= 500.0);
}
