//! The end of a guard with much to do: whoever was accepted is answered, streams end, and it is over in time.

use std::time::{Duration, Instant};

use mcp_guard_tests::upstream::{Upstream, open_stream};
use mcp_guard_tests::{Guard, Wire, call_tool, patiently, post};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const STREAMS: usize = 1000;
const CALLS: usize = 200;

/// The bar of issue 5.
#[test]
#[expect(clippy::disallowed_methods, reason = "how long another process takes is by the world's clock")]
fn a_thousand_streams_and_two_hundred_calls_in_flight_end_in_time_and_no_call_is_lost() {
    let node = Upstream::scripted(|message| (message.method() == "GET").then(open_stream));
    let config = json!({
        "upstreams": [{"url": node.url(), "connections": 2000, "timeouts": {"connect": "20s"}}],
        "guard": {"limits": {"connections_per_client": 2000}, "rate_limits": [], "queue": {"adaptive": false, "concurrency": 400}},
        "shutdown": {"drain": "20s", "grace": "1s"},
    });
    let mut guard = Guard::with_config(PROGRAM, &config.to_string());
    let listen = format!(
        "GET /mcp HTTP/1.1\r\nhost: {}\r\naccept: text/event-stream\r\nmcp-session-id: s\r\nmcp-protocol-version: 2025-11-25\r\n\r\n",
        guard.listen
    );
    let mut streams: Vec<_> = (0..STREAMS).map(|_| Wire::connect(guard.listen)).collect();
    streams.iter_mut().for_each(|stream| stream.write(&listen));
    for stream in &mut streams {
        let head = stream.head();
        assert_eq!(head.status, 200, "{}", head.text());
    }
    let mut calls: Vec<_> = (0..CALLS).map(|_| Wire::connect(guard.listen)).collect();
    for (id, call) in (0..).zip(&mut calls) {
        call.write(post(guard.listen, &[], call_tool(id, "hold", json!({})).to_string()));
    }
    patiently("all calls have arrived", || node.calls() == CALLS);
    guard.signal("TERM");
    let told = Instant::now();
    patiently("it is not ready", || guard.get("/readyz").is_some_and(|reply| reply.status == 503));
    for stream in &mut streams {
        while stream.chunk().is_some() {}
    }
    node.release(CALLS);
    for (id, call) in (0..).zip(&mut calls) {
        let reply = call.message();
        assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(id)), "{}", reply.text());
    }
    assert_eq!(guard.wait(), Some(0));
    let took = told.elapsed();
    println!("{STREAMS} streams and {CALLS} calls ended within {took:?}");
    assert!(took < Duration::from_secs(20));
}

#[test]
fn a_guard_that_cuts_calls_off_says_so_by_its_exit_code() {
    for (drain, signals) in [("50ms", 1), ("1h", 2)] {
        let node = Upstream::start();
        let shutdown = json!({"drain": drain, "grace": "1s"});
        let config = json!({"upstreams": [{"url": node.url()}], "shutdown": shutdown});
        let mut guard = Guard::with_config(PROGRAM, &config.to_string());
        let mut held = Wire::connect(guard.listen);
        held.write(post(guard.listen, &[], call_tool(1, "hold", json!({})).to_string()));
        patiently("it has arrived", || node.calls() == 1);
        for _ in 0..signals {
            guard.signal("TERM");
            patiently("it drains", || guard.get("/readyz").is_none_or(|reply| reply.status == 503));
        }
        assert_eq!(guard.wait(), Some(1), "drain {drain}");
    }
}
