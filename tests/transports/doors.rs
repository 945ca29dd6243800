//! Who is let in over the transports beside Streamable HTTP, and how that ends.

use std::net::TcpStream;

use mcp_guard_tests::{Guard, Wire, free_address, patiently, raw, request};
use serde_json::{Value, json};

use crate::clients::{Events, post};
use crate::{NODE, PROGRAM};

fn guard(listener: &str, sections: &str) -> Guard {
    let config = format!("listeners: [{{{listener}}}]\nupstreams: [{{command: [{NODE}, --stdio]}}]\n{sections}");
    Guard::with_config(PROGRAM, &config)
}

fn initialize() -> String {
    let client = json!({"name": "test", "version": "0"});
    request(0, "initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}))
        .to_string()
}

/// The answer to a handshake with these headers beside the usual ones.
fn handshake(guard: &Guard, more: &str) -> Option<mcp_guard_tests::Reply> {
    let usual = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let host = if more.contains("Host:") { "" } else { "Host: localhost\r\n" };
    let mut wire = Wire::connect(guard.listen);
    wire.write(format!("GET /ws HTTP/1.1\r\n{host}{usual}{more}\r\n"));
    Some(wire.head())
}

#[test]
fn a_web_socket_is_opened_as_the_rfc_has_it_and_for_no_page_from_elsewhere() {
    let guard = guard("web_socket_path: /ws", "");
    let opened = handshake(&guard, "").expect("an answer");
    assert_eq!(
        (opened.status, opened.header("connection"), opened.header("upgrade")),
        (101, Some("upgrade"), Some("websocket"))
    );
    // The example of RFC 6455, section 1.3.
    assert_eq!(opened.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for (more, status) in [
        ("Origin: https://evil.example\r\n", 403),
        ("Host: evil.example\r\n", 403),
        ("Origin: http://localhost\r\n", 101),
    ] {
        assert_eq!(handshake(&guard, more).expect("an answer").status, status, "{more}");
    }
    let plain =
        raw(guard.listen, b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("an answer");
    assert_eq!((plain.status, plain.reason().as_deref()), (400, Some("invalid_header")));
}

#[test]
fn a_transport_that_is_not_configured_is_not_there() {
    let guard = guard("path: /mcp", "");
    for path in ["/ws", "/sse"] {
        let reply = mcp_guard_tests::send_to(guard.listen, "GET", path, &[("accept", "text/event-stream")], "");
        assert_eq!(reply.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_a_stream_that_there_is_not_is_not_found() {
    let guard = tokio::task::block_in_place(|| guard("sse_path: /sse", ""));
    let mut events = Events::open(guard.listen, "/sse").await;
    let endpoint = String::from_utf8(events.next().await.expect("an address").to_vec()).expect("text");
    assert_eq!(post(guard.listen, &endpoint, initialize()).await, 202);
    let answer: Value = serde_json::from_slice(&events.next().await.expect("an answer")).expect("JSON");
    assert_eq!(answer["result"]["serverInfo"]["name"], "conformance-node");
    for other in ["/sse", "/sse?session=", "/sse?session=00000000000000000000000000000000"] {
        assert_eq!(post(guard.listen, other, initialize()).await, 404, "{other}");
    }
    drop(events);
    tokio::task::block_in_place(|| patiently("its session is gone", || guard.children().is_empty()));
    assert_eq!(post(guard.listen, &endpoint, initialize()).await, 404);
}

/// A guard that serves lines at its address, and a connection to it.
fn lines(sections: &str) -> (Guard, Wire) {
    let guard = guard("transport: lines", sections);
    let wire = Wire::new(TcpStream::connect(guard.listen).expect("a connection"));
    (guard, wire)
}

fn say(wire: &mut Wire, message: &str) -> Value {
    wire.write(format!("{message}\n"));
    serde_json::from_str(&wire.text()).expect("JSON")
}

#[test]
fn the_concerns_of_the_guard_hold_for_lines_too() {
    let (_guard, mut wire) = lines("guard: {rate_limits: [{name: r, key: [client], rate: 1/h, burst: 3}]}");
    assert_eq!(say(&mut wire, &initialize())["id"], 0);
    let wrong = say(&mut wire, r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#);
    assert_eq!((&wrong["id"], &wrong["error"]["data"]["guard"]), (&json!(1), &json!("invalid_params")));
    say(&mut wire, &request(2, "ping", json!({})).to_string());
    let refused = say(&mut wire, &request(3, "ping", json!({})).to_string());
    assert_eq!((&refused["id"], &refused["error"]["data"]["guard"]), (&json!(3), &json!("rate_limited")));
}

#[test]
fn a_page_that_posts_to_a_listener_of_lines_is_not_heard() {
    let (guard, mut wire) = lines("");
    let message = initialize();
    wire.write(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{message}\n", message.len()));
    let told: Value = serde_json::from_str(&wire.text()).expect("JSON");
    assert_eq!(told["error"]["data"]["guard"], "parse_error");
    assert!(wire.is_closed());
    assert!(guard.children().is_empty(), "no session was opened");
}

#[test]
fn a_line_that_is_too_long_or_never_comes_ends_the_connection() {
    let (guard, mut wire) = lines("guard: {limits: {body: 1KiB, header_timeout: 200ms}}");
    wire.write(vec![b'{'; 2048]);
    assert!(wire.is_closed());
    let mut silent = Wire::new(TcpStream::connect(guard.listen).expect("a connection"));
    assert!(silent.is_closed());
    // One that has spoken may be silent.
    let mut other = Wire::new(TcpStream::connect(guard.listen).expect("a connection"));
    assert_eq!(say(&mut other, &initialize())["id"], 0);
    patiently("the silent ones are gone", || guard.metric("mcp_guard_connections") == 1.0);
    assert_eq!(say(&mut other, &request(1, "ping", json!({})).to_string())["id"], 1);
}

#[test]
fn what_was_asked_before_the_end_is_answered() {
    let (guard, mut wire) = lines("");
    say(&mut wire, &initialize());
    wire.write("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n");
    let slow = request(1, "tools/call", json!({"name": "sleep", "arguments": {"ms": 300}}));
    wire.write(format!("{slow}\n"));
    patiently("it is with the node", || guard.metric("mcp_guard_in_flight") == 1.0);
    wire.half_close();
    let answer: Value = serde_json::from_str(&wire.text()).expect("JSON");
    assert_eq!(answer["id"], 1, "{answer}");
    assert!(wire.is_closed());
    patiently("its session is gone", || guard.children().is_empty());
}

#[test]
fn a_drain_ends_lines_when_what_was_asked_is_answered() {
    let (mut guard, mut wire) = lines("");
    say(&mut wire, &initialize());
    let slow = request(1, "tools/call", json!({"name": "sleep", "arguments": {"ms": 300}}));
    wire.write(format!("{slow}\n"));
    patiently("it is with the node", || guard.metric("mcp_guard_in_flight") == 1.0);
    guard.signal("TERM");
    let answer: Value = serde_json::from_str(&wire.text()).expect("JSON");
    assert_eq!(answer["id"], 1, "{answer}");
    assert!(wire.is_closed());
    assert_eq!(guard.wait(), Some(0));
}

#[test]
fn two_listeners_of_one_guard_speak_each_their_own() {
    let lines = free_address();
    let config = format!(
        "listeners: [{{path: /mcp}}, {{address: '{lines}', transport: lines}}]\nupstreams: [{{command: [{NODE}, --stdio]}}]"
    );
    let guard = Guard::with_config(PROGRAM, &config);
    let mut wire = Wire::new(TcpStream::connect(lines).expect("a connection"));
    assert_eq!(say(&mut wire, &initialize())["id"], 0);
    assert_eq!(mcp_guard_tests::send(guard.listen, &[], initialize()).status, 200);
    assert_eq!(guard.children().len(), 2);
}
