//! Connections over real sockets: how long they may be silent, how many there may be, and how they end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, call_tool, patiently, post, request, send, send_to};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

fn guarded(guard: Value) -> (Guard, Upstream) {
    configured(json!({"guard": guard}))
}

fn configured(mut config: Value) -> (Guard, Upstream) {
    let upstream = Upstream::start();
    config["version"] = json!(1);
    config["upstreams"] = json!([{"url": upstream.url()}]);
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

/// The beginning of HTTP/2: client preface with empty settings, and a GET of `/` at `x` as stream 1.
fn h2_get() -> Vec<u8> {
    let headers = b"\x82\x86\x84\x41\x01x";
    let frame = [0, 0, u8::try_from(headers.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    [H2_PREFACE, &frame, headers].concat()
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
        let hold = call_tool(1, "hold", json!({})).to_string();
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
    let refused = || guard.metric("mcp_guard_refusals_total{reason=\"too_many_connections\"}");
    // The start's own connection may have the place still: who is served has it for sure.
    let ping = post(guard.listen, &[], request(1, "ping", json!({})).to_string());
    let mut held = None;
    patiently("one is held", || {
        let mut stream = connect(guard.listen);
        let mut status = [0; 12];
        stream.write_all(&ping).unwrap();
        let is_served = stream.read_exact(&mut status).is_ok() && status == *b"HTTP/1.1 200";
        held = Some(stream);
        is_served
    });
    patiently("it is the only one", || connections(&guard) == 1.0);
    let before = refused();
    let mut over: Vec<_> = (0..100).map(|_| connect(guard.listen)).collect();
    for stream in &mut over {
        assert_eq!(rest(stream), "");
    }
    assert_eq!(refused() - before, 100.0);
    assert_eq!(connections(&guard), 1.0);
    drop(held);
}

#[test]
fn streams_that_stay_open_do_not_hold_up_the_drain() {
    let (mut guard, upstream) = configured(json!({"shutdown": {"drain": "1h"}}));
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let params = json!({"_meta": meta, "notifications": {"toolsListChanged": true}});
    let listen = request(1, "subscriptions/listen", params).to_string();
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "subscriptions/listen")];
    std::thread::scope(|scope| {
        let address = guard.listen;
        let stream = scope.spawn(move || send(address, &headers, listen));
        patiently("the stream has begun", || {
            upstream.seen().iter().any(|(_, message)| message["method"] == "subscriptions/listen")
        });
        guard.signal("TERM");
        let reply = stream.join().unwrap();
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert!(reply.text().contains("list_changed"), "{}", reply.text());
    });
    assert_eq!(guard.wait(), Some(0));
}

#[test]
fn connections_of_a_draining_guard_end_soon_in_both_protocols() {
    let (mut guard, upstream) = guarded(json!({}));
    std::thread::scope(|scope| {
        let address = guard.listen;
        let hold = call_tool(1, "hold", json!({})).to_string();
        let held = scope.spawn(move || send(address, &[], hold));
        patiently("the call has arrived", || upstream.calls() == 1);
        guard.signal("TERM");
        patiently("it drains", || guard.get("/readyz").is_some_and(|reply| reply.status == 503));
        let mut silent = connect(address);
        let mut h2 = connect(address);
        h2.write_all(&h2_get()).unwrap();
        assert!(rest(&mut h2).contains("\"guard\":\"draining\""));
        assert_eq!(rest(&mut silent), "");
        assert_eq!(guard.metric("mcp_guard_refusals_total{reason=\"draining\"}"), 2.0);
        upstream.release(1);
        assert_eq!(held.join().unwrap().status, 200);
    });
    assert_eq!(guard.wait(), Some(0));
}

#[test]
fn a_lame_duck_serves_everybody_and_closes_after_each_answer() {
    let (mut guard, _upstream) = configured(json!({"shutdown": {"lame_duck": "1h"}}));
    let mut kept = connect(guard.listen);
    assert!(!ping(&mut kept).unwrap().contains("connection: close"));
    guard.signal("TERM");
    patiently("it is not ready", || guard.get("/readyz").is_some_and(|reply| reply.status == 503));
    for stream in [&mut kept, &mut connect(guard.listen)] {
        let answer = ping(stream).unwrap();
        assert!(answer.contains("200 OK") && answer.contains("connection: close"), "{answer}");
        assert_eq!(rest(stream), "");
    }
    guard.signal("TERM");
    assert_eq!(guard.wait(), Some(0), "a second signal does not wait");
}

#[test]
fn no_web_page_can_use_the_admin_endpoints() {
    let (guard, _upstream) = guarded(json!({}));
    let reply = send_to(guard.admin, "POST", "/drain", &[("origin", "http://evil.example")], "");
    assert_eq!((reply.status, reply.reason().as_deref()), (403, Some("origin_not_allowed")));
    let rebound = b"GET /config HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    let reply = mcp_guard_tests::raw(guard.admin, rebound).unwrap();
    assert_eq!((reply.status, reply.reason().as_deref()), (403, Some("host_not_allowed")));
    assert_eq!(guard.get("/readyz").unwrap().status, 200);
}

#[test]
fn calls_are_refused_while_memory_is_short() {
    let upstream = Upstream::start();
    let yaml = json!({"upstreams": [{"url": upstream.url()}], "guard": {"limits": {"memory": "1MiB"}}}).to_string();
    let guard = Guard::unready(PROGRAM, &yaml);
    patiently("memory was looked at", || guard.metric("mcp_guard_memory_bytes") > 1_048_576.0);
    // The body never comes: nothing waits for it.
    let head = "POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\nconnection: close\r\n\r\n";
    let reply = mcp_guard_tests::raw(guard.listen, head.as_bytes()).unwrap();
    assert_eq!((reply.status, reply.reason().as_deref()), (503, Some("memory_pressure")), "{}", reply.text());
    assert_eq!(reply.json()["error"]["code"], 1089);
    assert_eq!(
        (reply.header("retry-after"), &reply.json()["error"]["data"]["retryAfterMs"]),
        (Some("5"), &json!(5000))
    );
    assert_eq!(guard.metric("mcp_guard_refusals_total{reason=\"memory_pressure\"}"), 1.0);
    assert_eq!(upstream.calls(), 0);
    assert_eq!(guard.metric("mcp_guard_memory_pressure"), 3.0);
    let ready = guard.get("/readyz").unwrap();
    assert_eq!((ready.status, &ready.json()["checks"]["memory"]), (503, &json!("at its limit: everything is refused")));
}

#[test]
fn health_says_why_under_its_own_names_and_erlmcps() {
    let (guard, _upstream) = configured(json!({"shutdown": {"lame_duck": "1m"}}));
    let check = |path: &str| {
        let reply = guard.get(path).expect("an answer").json();
        (reply["status"].clone(), reply["checks"].clone())
    };
    for (paths, checks) in [
        (&["/livez", "/health/live", "/live"][..], json!({"process": "running"})),
        (
            &["/readyz", "/health", "/health/ready", "/ready"],
            json!({"drain": "accepting", "upstream": "reachable", "memory": "enough"}),
        ),
        (&["/startupz", "/health/startup"], json!({"upstream": "reachable"})),
    ] {
        for path in paths {
            assert_eq!(check(path), (json!("ok"), checks.clone()), "{path}");
        }
    }
    assert_eq!(guard.order("/mcp/shutdown").status, 202);
    patiently("it drains", || {
        guard.get("/health/ready").is_some_and(|ready| ready.json()["checks"]["drain"] == "draining")
    });
}
