//! Connections on both sides of the guard: kept, pipelined, closed at the wrong moment.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;

use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Wire, call_tool, patiently, request};
use serde_json::json;

use crate::{PROGRAM, guard, http, no_lists, post, stateless_call, with};

#[test]
fn a_connection_is_kept_for_the_next_call() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    patiently("the start's own connection is gone", || guard.metric("mcp_guard_connections") == 0.0);
    let mut wire = Wire::connect(guard.listen);
    for id in 1..=3 {
        wire.write(post(&call_tool(id, "echo", json!({}))));
        let reply = wire.message();
        assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(id)));
    }
    assert_eq!(guard.metric("mcp_guard_connections"), 1.0);
}

#[test]
fn each_connection_is_a_task_until_it_ends() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let tasks = || guard.metric("mcp_guard_tasks");
    let mut wires: Vec<_> = (0..20).map(|_| Wire::connect(guard.listen)).collect();
    for wire in &mut wires {
        wire.write(post(&call_tool(1, "echo", json!({}))));
        assert_eq!(wire.message().status, 200);
    }
    // Each core counts what it has once a second.
    let mut most = 0.0_f64;
    patiently("all are counted", || {
        most = most.max(tasks());
        most >= 20.0
    });
    drop(wires);
    patiently("they are gone", || {
        let now = tasks();
        most = most.max(now);
        now <= most - 20.0
    });
}

#[test]
fn pipelined_calls_are_answered_in_their_order() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let mut wire = Wire::connect(guard.listen);
    let calls = (1..=5).map(|id| post(&call_tool(id, "echo", json!({"n": id}))));
    wire.write(calls.collect::<String>());
    for id in 1..=5 {
        assert_eq!(wire.message().json()["id"], id);
    }
}

#[test]
fn a_refused_call_leaves_the_connection_as_it_was() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let mut wire = Wire::connect(guard.listen);
    wire.write(http("POST", &[("content-type", "application/json")], "{nonsense"));
    assert_eq!(wire.message().status, 400);
    wire.write(http("PUT", &[], ""));
    assert_eq!(wire.message().status, 405);
    wire.write(post(&request(1, "ping", json!({}))));
    assert_eq!(wire.message().status, 200);
}

#[test]
fn a_head_that_does_not_come_to_its_end_loses_its_connection() {
    let upstream = Upstream::start();
    let guard = with(json!({"url": upstream.url()}), json!({"limits": {"header_timeout": "50ms"}}));
    let mut wire = Wire::connect(guard.listen);
    wire.write("POST /mcp HTTP/1.1\r\nhost: loc");
    assert!(wire.is_closed());
}

/// In 2026-07-28, to close the connection is to cancel the call.
#[test]
fn a_client_that_leaves_takes_its_call_with_it() {
    let (address, calls) = node();
    // It answers nothing, so that it never counts as well; and it is not asked what it speaks.
    let upstream = json!({"url": format!("http://{address}/mcp"), "era": "as_is", "health": {"interval": "1h"}});
    let config = json!({"upstreams": [upstream], "guard": no_lists()});
    let guard = Guard::unready(PROGRAM, &config.to_string());
    let _ping = calls.recv().unwrap();
    let mut wire = Wire::connect(guard.listen);
    wire.write(stateless_call("slow"));
    let mut at_node = calls.recv().unwrap();
    at_node.message();
    assert_eq!(guard.metric("mcp_guard_in_flight"), 1.0);
    drop(wire);
    assert!(at_node.is_closed(), "the node is told in the only way there is");
    patiently("its place is free", || guard.metric("mcp_guard_in_flight") == 0.0);
    let cancelled = "mcp_guard_requests_total{method=\"tools/call\",outcome=\"cancelled\"}";
    patiently("it is counted", || guard.metric(cancelled) == 1.0);
}

/// What `/readyz` says of a node that does `answer` with each connection.
fn readiness_with(answer: impl Fn(Wire) -> Option<Wire> + Send + 'static, expected: &str) {
    let (address, calls) = node();
    thread::spawn(move || {
        // Held, so that none is closed.
        let _held: Vec<_> = calls.into_iter().map(answer).collect();
    });
    let health = json!({"interval": "50ms", "timeout": "50ms"});
    let upstream = json!({"url": format!("http://{address}/mcp"), "health": health});
    let guard = Guard::unready(PROGRAM, &json!({"upstreams": [upstream]}).to_string());
    patiently("it says why", || {
        guard.get("/readyz").is_some_and(|ready| ready.status == 503 && ready.text().contains(expected))
    });
}

#[test]
fn a_node_that_accepts_and_says_nothing_is_not_well() {
    readiness_with(Some, "no answer within 50ms");
}

#[test]
fn a_node_that_says_it_is_unavailable_is_not_well() {
    let unavailable = |mut call: Wire| {
        call.write("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n");
        Some(call)
    };
    readiness_with(unavailable, "it answers 503");
}

#[test]
fn a_client_that_leaves_the_queue_leaves_it_to_others() {
    let upstream = Upstream::start();
    let queue = json!({"concurrency": 1, "adaptive": false, "waiting": 1, "max_wait": "20s"});
    let guard = with(json!({"url": upstream.url()}), json!({"queue": queue}));
    let (mut first, mut second) = (Wire::connect(guard.listen), Wire::connect(guard.listen));
    first.write(post(&call_tool(1, "hold", json!({}))));
    patiently("the first call holds the only place", || upstream.calls() == 1);
    second.write(post(&call_tool(2, "hold", json!({}))));
    patiently("the second waits", || guard.metric("mcp_guard_queue_depth") == 1.0);
    drop(second);
    patiently("nobody waits", || guard.metric("mcp_guard_queue_depth") == 0.0);
    let mut third = Wire::connect(guard.listen);
    third.write(post(&call_tool(3, "echo", json!({}))));
    patiently("the third waits in its place", || guard.metric("mcp_guard_queue_depth") == 1.0);
    upstream.release(1);
    assert_eq!((first.message().status, third.message().status), (200, 200));
    assert_eq!(upstream.calls(), 2, "the call that left was never sent");
}

/// A call on a connection that the node has closed would be lost, and may not be sent again.
#[test]
fn a_node_that_closes_its_connections_without_a_word_fails_no_call() {
    let (address, calls) = node();
    let (tell, closed) = mpsc::channel();
    thread::spawn(move || {
        for mut call in calls {
            let asked = call.message().json();
            let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"content": []}});
            let (answer, length) = (answer.to_string(), answer.to_string().len());
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
            call.write(head + &answer);
            drop(call);
            // Health checks ask too, and nobody waits for their end.
            if asked["method"] == "tools/call" {
                tell.send(()).unwrap();
            }
        }
    });
    let guard = with(json!({"url": format!("http://{address}/mcp")}), no_lists());
    let mut wire = Wire::connect(guard.listen);
    for id in 1..=50 {
        wire.write(post(&call_tool(id, "echo", json!({}))));
        let reply = wire.message();
        assert_eq!(reply.status, 200, "call {id}: {}", reply.text());
        closed.recv().unwrap();
    }
}

/// A node made of nothing but its connections: each on which something is said comes out of the channel.
fn node() -> (SocketAddr, mpsc::Receiver<Wire>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (tell, mut wire) = (tell.clone(), Wire::new(stream.unwrap()));
            // The guard's health check connects and says nothing.
            thread::spawn(move || if wire.is_closed() { Ok(()) } else { tell.send(wire) });
        }
    });
    (address, told)
}
