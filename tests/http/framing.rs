//! Where a message begins and ends, and who is meant: what two parsers could read in two ways.

use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Wire, call_tool, raw, request};
use serde_json::json;

use crate::{LEGACY, guard, http, post};

fn ping() -> String {
    request(1, "ping", json!({})).to_string()
}

/// A request with exactly this head.
fn exactly(head: &str, body: &str) -> Vec<u8> {
    let head = format!("POST /mcp HTTP/1.1\r\ncontent-type: application/json\r\nconnection: close\r\n{head}\r\n");
    [head.as_bytes(), body.as_bytes()].concat()
}

#[test]
fn a_request_names_one_host() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let length = format!("content-length: {}\r\n", ping().len());
    for hosts in ["", "host: \r\n", "host: localhost\r\nhost: localhost\r\n"] {
        let reply = raw(guard.listen, &exactly(&format!("{hosts}{length}"), &ping())).unwrap();
        assert_eq!((reply.status, reply.reason().as_deref()), (400, Some("invalid_header")), "{hosts:?}");
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn two_lengths_are_refused() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let length = ping().len();
    let head = format!("host: localhost\r\ncontent-length: {length}\r\ncontent-length: {}\r\n", length - 1);
    assert_eq!(raw(guard.listen, &exactly(&head, &ping())).unwrap().status, 400);
    assert_eq!(upstream.seen().len(), 0);
}

/// RFC 9112, section 6.1. What a proxy before the guard took for the body's rest is never taken for a request.
#[test]
fn two_framings_are_refused_and_smuggle_nothing() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let smuggled = post(&request(2, "ping", json!({})));
    let chunked = format!("{:x}\r\n{}\r\n0\r\n\r\n{smuggled}", ping().len(), ping());
    for order in [0, 1] {
        let mut framings = [format!("content-length: {}\r\n", chunked.len()), "transfer-encoding: chunked\r\n".into()];
        framings.rotate_left(order);
        let head = format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{}\r\n",
            framings.concat()
        );
        let mut wire = Wire::connect(guard.listen);
        wire.write(head + &chunked);
        let reply = wire.message();
        assert_eq!((reply.status, reply.reason().as_deref()), (400, Some("invalid_header")), "{}", reply.text());
        assert!(wire.is_closed(), "what follows is not read");
    }
    assert_eq!(guard.metric("mcp_guard_refusals_total{reason=\"invalid_header\"}"), 2.0);
    assert_eq!(upstream.seen().len(), 0);
}

#[test]
fn a_body_in_chunks_reaches_the_node_with_its_length() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let (start, end) = (&ping()[..5], &ping()[5..]);
    let body = format!("{:x}\r\n{start}\r\n{:x}\r\n{end}\r\n0\r\n\r\n", start.len(), end.len());
    let reply = raw(guard.listen, &exactly("host: localhost\r\ntransfer-encoding: chunked\r\n", &body)).unwrap();
    assert_eq!(reply.status, 200);
    let seen = upstream.seen();
    let (headers, message) = seen.last().unwrap();
    assert_eq!(
        (headers["content-length"].to_str().unwrap(), message.to_string()),
        (ping().len().to_string().as_str(), ping())
    );
}

#[test]
fn a_body_of_the_largest_size_goes_through_and_back() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let rest = (4 << 20) - call_tool(1, "echo", json!({"text": ""})).to_string().len();
    let call = call_tool(1, "echo", json!({"text": "x".repeat(rest)}));
    assert_eq!(call.to_string().len(), 4 << 20);
    let mut wire = Wire::connect(guard.listen);
    wire.write(post(&call));
    let reply = wire.message();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["result"]["content"][0]["text"], call["params"]["arguments"].to_string());
    assert_eq!(upstream.seen().last().unwrap().1, call);
}

/// As curl does with a body over a megabyte.
#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let mut headers = LEGACY.to_vec();
    headers.push(("expect", "100-continue"));
    let whole = http("POST", &headers, &ping());
    let (head, body) = whole.split_at(whole.len() - ping().len());
    let mut wire = Wire::connect(guard.listen);
    wire.write(head);
    assert_eq!(wire.head().status, 100);
    wire.write(body);
    assert_eq!(wire.message().status, 200);
    assert!(!upstream.seen().last().unwrap().0.contains_key("expect"), "the node has the body anyway");
}
