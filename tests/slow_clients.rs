//! A thousand clients that are slow on purpose, and one that is not.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Wire, call_tool, patiently, post, request};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

const SLOW_HEADS: usize = 480;
const SLOW_BODIES: usize = 480;
/// Fewer, since the answer of each is held by the guard as long as its client does not take it.
const SLOW_READERS: usize = 40;

/// More than the sockets' buffers hold.
const LARGE: usize = 4 << 20;

fn guard(upstream: &Upstream) -> Guard {
    let limits = json!({
        "connections_per_client": 2000,
        "header_timeout": "8s",
        "body_timeout": "8s",
        "keep_alive": "8s",
    });
    let guard = json!({"limits": limits, "rate_limits": [], "queue": {"adaptive": false}});
    Guard::with_config(PROGRAM, &json!({"upstreams": [{"url": upstream.url()}], "guard": guard}).to_string())
}

/// Sends `bytes`, and nothing behind them.
fn begin(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.write_all(bytes).expect("it is sent");
    stream
}

#[test]
fn slow_clients_keep_nobody_from_an_answer_and_are_gone_after_their_time() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let address = guard.listen;
    let ping = post(address, &[], request(1, "ping", json!({})).to_string());
    let large = post(address, &[], call_tool(1, "large", json!({"bytes": LARGE})).to_string());
    let head = &ping[..60];
    let body = &ping[..ping.len() - 10];
    let kinds = [(SLOW_HEADS, head), (SLOW_BODIES, body), (SLOW_READERS, &large[..])];
    let slow: Vec<_> =
        kinds.into_iter().flat_map(|(count, sent)| (0..count).map(move |_| begin(address, sent))).collect();
    let mut healthy = Wire::connect(address);
    let mut answered = 0;
    patiently("all are there, and the healthy one is answered meanwhile", || {
        healthy.write(&ping);
        assert_eq!(healthy.message().status, 200);
        answered += 1;
        guard.metric("mcp_guard_connections") > slow.len() as f64
    });
    assert_eq!(slow.len(), 1000);
    patiently("they are gone, and the healthy one is not", || {
        healthy.write(&ping);
        assert_eq!(healthy.message().status, 200);
        answered += 1;
        guard.metric("mcp_guard_connections") == 1.0
    });
    println!("{answered} answers beside {} slow clients", slow.len());
    // Slow bodies are told why; slow heads and readers can be told nothing.
    let told = guard.metric("mcp_guard_refusals_total{reason=\"request_timeout\"}");
    assert_eq!(told, SLOW_BODIES as f64);
    drop(slow);
}
