//! Connections over real sockets: how long they may be silent, how many there may be, and how they end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, patiently, request, send};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

fn guarded(guard: Value) -> (Guard, Upstream) {
    let upstream = Upstream::start();
    let config = json!({"version": 1, "upstreams": [{"url": upstream.url()}], "guard": guard});
    (Guard::with_config(PROGRAM, &config.to_string()), upstream)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// Everything that comes until the guard closes.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("not closed: {error}"),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A ping on a connection that is kept.
fn ping(stream: &mut TcpStream) -> std::io::Result<String> {
    let body = request(1, "ping", json!({})).to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut chunk = [0; 4096];
    let length = stream.read(&mut chunk)?;
    Ok(String::from_utf8_lossy(&chunk[..length]).into_owned())
}

fn connections(guard: &Guard) -> f64 {
    guard.metric("mcp_guard_connections")
}

#[test]
fn a_connection_without_a_request_is_closed_whatever_it_sent() {
    let (guard, _upstream) = guarded(json!({"limits": {"header_timeout": "200ms"}}));
    for bytes in [&b""[..], b"PRI", b"POST /mcp HT", b"POST /mcp HTTP/1.1\r\nhost: x\r\n", H2_PREFACE] {
        let mut stream = connect(guard.listen);
        stream.write_all(bytes).unwrap();
        assert!(!rest(&mut stream).contains("HTTP/1.1 2"));
    }
    patiently("their places are free", || connections(&guard) == 0.0);
}

#[test]
fn a_used_connection_is_kept_longer_than_a_head_may_take() {
    let (guard, _upstream) = guarded(json!({"limits": {"header_timeout": "100ms", "keep_alive": "30s"}}));
    let mut kept = connect(guard.listen);
    assert!(ping(&mut kept).unwrap().contains("200 OK"));
    // Accepted after the first answer of `kept`, and ended by the time that `kept` outlives.
    for _ in 0..3 {
        rest(&mut connect(guard.listen));
    }
    assert!(ping(&mut kept).unwrap().contains("200 OK"));
}

#[test]
fn a_used_connection_is_closed_when_it_is_silent_for_too_long() {
    let (guard, _upstream) = guarded(json!({"limits": {"keep_alive": "200ms"}}));
    let mut silent = connect(guard.listen);
    assert!(ping(&mut silent).unwrap().contains("200 OK"));
    assert_eq!(rest(&mut silent), "");
    let mut slow = connect(guard.listen);
    assert!(ping(&mut slow).unwrap().contains("200 OK"));
    slow.write_all(b"POST /mcp HTTP/1.1\r\n").unwrap();
    assert!(!rest(&mut slow).contains("200"));
}

#[test]
fn a_call_may_take_longer_than_a_silent_connection() {
    let (guard, upstream) = guarded(json!({"limits": {"header_timeout": "50ms", "keep_alive": "50ms"}}));
    std::thread::scope(|scope| {
        let hold = mcp_guard_tests::call_tool(1, "hold", json!({})).to_string();
        let held = scope.spawn(move || send(guard.listen, &[], hold));
        patiently("the call has arrived", || upstream.calls() == 1);
        for _ in 0..3 {
            rest(&mut connect(guard.listen));
        }
        upstream.release(1);
        assert_eq!(held.join().unwrap().status, 200);
    });
}

#[test]
fn silent_connections_over_the_cap_are_closed_and_counted() {
    let (guard, _upstream) = guarded(json!({"limits": {"connections_per_client": 1}}));
    patiently("the start's own connection is gone", || connections(&guard) == 0.0);
    let _held = connect(guard.listen);
    patiently("it is counted", || connections(&guard) == 1.0);
    let mut over: Vec<_> = (0..100).map(|_| connect(guard.listen)).collect();
    for stream in &mut over {
        assert_eq!(rest(stream), "");
    }
    assert_eq!(guard.metric("mcp_guard_refusals_total{reason=\"too_many_connections\"}"), 100.0);
    assert_eq!(connections(&guard), 1.0);
}
