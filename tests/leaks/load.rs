//! What is refused for want of room, allowance or memory, and at the end.

use mcp_guard::refusal::Reason;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Reply, Wire, patiently, post, send};
use serde_json::{Value, json};

use crate::planted::Planted;
use crate::scene::{Log, Scene};
use crate::{assert_all, in_both};

pub(crate) const REASONS: &[Reason] = &[Reason::RateLimited, Reason::QueueFull, Reason::QueueTimeout];
pub(crate) const REASONS_OF_CONNECTIONS: &[Reason] = &[Reason::TooManyConnections];
pub(crate) const REASONS_AT_THE_END: &[Reason] = &[Reason::Draining];
pub(crate) const REASONS_OF_MEMORY: &[Reason] = &[Reason::MemoryPressure];

/// Sends a message with all secrets of a client.
pub(crate) fn ask(guard: &Guard, planted: &Planted, body: &Value) -> Reply {
    send(guard.listen, &borrowed(&planted.headers()), body.to_string())
}

pub(crate) fn borrowed<'a>(headers: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

fn config(upstream: &Upstream, guard: &Value) -> Value {
    json!({"upstreams": [{"url": upstream.url()}], "guard": guard})
}

#[test]
fn a_spent_allowance_and_a_full_queue_are_told_without_what_was_asked() {
    in_both(|log| {
        let upstream = Upstream::start();
        let rule = json!({"name": "tight", "key": ["client", "session", "tool"], "match": {"method": "tools/call"}, "rate": "6/m", "burst": 3});
        let queue = json!({"concurrency": 1, "adaptive": false, "waiting": 1, "max_wait": "2s"});
        let mut scene = Scene::start(log, config(&upstream, &json!({"rate_limits": [rule], "queue": queue})));
        let planted = Planted::new();
        let ask = |tool| ask(&scene.guard, &planted, &planted.call(1, tool));
        assert!((0..3).all(|_| ask("echo").status == 200));
        let limited = ask("echo");
        let (full, late) = std::thread::scope(|scope| {
            let first = scope.spawn(|| ask("hold"));
            patiently("the first call holds the only place", || upstream.calls() == 4);
            let second = scope.spawn(|| ask("hold"));
            patiently("the second waits", || scene.guard.metric("mcp_guard_queue_depth") == 1.0);
            let (full, late) = (ask("hold"), second.join().expect("an answer"));
            upstream.release(1);
            assert_eq!(first.join().expect("an answer").status, 200);
            (full, late)
        });
        for (reply, reason) in [(limited, "rate_limited"), (full, "queue_full"), (late, "queue_timeout")] {
            scene.refused(&reply, reason);
        }
        assert_all(scene.end(&planted.all()), REASONS);
    });
}

#[test]
fn a_connection_too_many_is_told_without_what_it_asked() {
    in_both(|log| {
        let upstream = Upstream::start();
        let limits = json!({"connections_per_client": 2});
        let mut scene = Scene::start(log, config(&upstream, &json!({"limits": limits, "rate_limits": []})));
        let planted = Planted::new();
        let call = planted.call(1, "echo");
        let mut held = Vec::new();
        // The connection by which the harness saw that it listens may have the second place still.
        patiently("two have their places", || {
            let mut wire = Wire::connect(scene.guard.listen);
            wire.write(post(scene.guard.listen, &borrowed(&planted.headers()), call.to_string()));
            if wire.message().status == 200 {
                held.push(wire);
            }
            held.len() == 2
        });
        let reply = ask(&scene.guard, &planted, &call);
        scene.refused(&reply, "too_many_connections");
        drop(held);
        assert_all(scene.end(&planted.all()), REASONS_OF_CONNECTIONS);
    });
}

#[test]
fn a_draining_guard_tells_nothing_of_the_calls_that_come_too_late() {
    in_both(|log| {
        let upstream = Upstream::start();
        let mut scene = Scene::start(log, config(&upstream, &json!({})));
        let planted = Planted::new();
        let late = std::thread::scope(|scope| {
            let held = scope.spawn(|| ask(&scene.guard, &planted, &planted.call(1, "hold")));
            patiently("the call has arrived", || upstream.calls() == 1);
            scene.guard.signal("TERM");
            let is_leaving = || scene.guard.get("/readyz").is_some_and(|reply| reply.status == 503);
            patiently("it is not ready", is_leaving);
            let late = ask(&scene.guard, &planted, &planted.call(2, "echo"));
            upstream.release(1);
            assert_eq!(held.join().expect("an answer").status, 200);
            late
        });
        scene.refused(&late, "draining");
        assert_eq!(scene.guard.wait(), Some(0));
        assert_all(scene.after_end(&planted.all()), REASONS_AT_THE_END);
    });
}

#[test]
fn a_guard_without_memory_tells_nothing_of_the_calls_that_it_does_not_read() {
    in_both(|log: Log| {
        let upstream = Upstream::start();
        // Less than any guard needs.
        let mut scene = Scene::unready(log, config(&upstream, &json!({"limits": {"memory": "1MiB"}})));
        patiently("it is at its limit", || scene.guard.metric("mcp_guard_memory_pressure") == 3.0);
        let planted = Planted::new();
        let reply = ask(&scene.guard, &planted, &planted.call(1, "echo"));
        scene.refused(&reply, "memory_pressure");
        assert_all(scene.end(&planted.all()), REASONS_OF_MEMORY);
    });
}
