//! What is passed on of a request and of its answer, and what is not.

use std::sync::{Arc, Mutex};

use axum::http::StatusCode;
use axum::response::IntoResponse;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Wire, call_tool, request};
use serde_json::json;

use crate::{LEGACY, guard, http, post, with};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[test]
fn what_concerns_one_connection_is_not_passed_on() {
    let upstream = Upstream::scripted(|message| {
        let headers = [("connection", "x-private"), ("x-private", "1"), ("keep-alive", "timeout=5"), ("x-kept", "2")];
        let body = message.result(json!({})).to_string();
        (message.method() == "ping").then(|| ([("content-type", "application/json")], headers, body).into_response())
    });
    let guard = guard(&upstream);
    let mut headers = LEGACY.to_vec();
    headers.extend([
        ("connection", "keep-alive, x-private"),
        ("x-private", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic x"),
        ("x-kept", "2"),
        ("authorization", "Bearer x"),
    ]);
    let mut wire = Wire::connect(guard.listen);
    wire.write(http("POST", &headers, &request(1, "ping", json!({})).to_string()));
    let reply = wire.message();
    assert_eq!((reply.status, reply.header("x-kept")), (200, Some("2")));
    assert_eq!((reply.header("x-private"), reply.header("keep-alive")), (None, None));
    let seen = upstream.seen();
    let (headers, _) = seen.last().unwrap();
    for name in ["x-private", "keep-alive", "te", "proxy-authorization", "connection"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!([&headers["x-kept"], &headers["authorization"]], ["2", "Bearer x"]);
    assert_eq!(headers["host"], upstream.address.to_string());
}

#[test]
fn the_callers_request_id_and_trace_go_on_to_the_node() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let traceparent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let mut headers = LEGACY.to_vec();
    headers.extend([("x-request-id", "r-17"), ("traceparent", &traceparent), ("tracestate", "vendor=1")]);
    let mut wire = Wire::connect(guard.listen);
    wire.write(http("POST", &headers, &request(1, "ping", json!({})).to_string()));
    assert_eq!(wire.message().header("x-request-id"), Some("r-17"));
    let seen = upstream.seen();
    let (headers, _) = seen.last().unwrap();
    assert_eq!([&headers["x-request-id"], &headers["tracestate"]], ["r-17", "vendor=1"]);
    assert!(headers["traceparent"].to_str().unwrap().contains(TRACE), "{headers:?}");
}

#[test]
fn a_malformed_trace_breaks_nothing_and_goes_no_further() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let mut headers = LEGACY.to_vec();
    headers.push(("traceparent", "00-zz-1-1"));
    let mut wire = Wire::connect(guard.listen);
    wire.write(http("POST", &headers, &request(1, "ping", json!({})).to_string()));
    assert_eq!(wire.message().status, 200);
    assert!(!upstream.seen().last().unwrap().0.contains_key("traceparent"));
}

#[test]
fn a_notification_is_accepted_without_a_body() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let mut wire = Wire::connect(guard.listen);
    wire.write(post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})));
    let reply = wire.message();
    assert_eq!((reply.status, reply.body.len()), (202, 0));
    wire.write(post(&request(1, "ping", json!({}))));
    assert_eq!(wire.message().status, 200, "the connection goes on");
}

#[test]
fn the_end_of_a_session_is_for_the_node_to_say() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let sessions = Arc::clone(&ended);
    let upstream = Upstream::scripted(move |message| {
        (message.method() == "DELETE").then(|| {
            let session = message.headers["mcp-session-id"].to_str().unwrap().to_owned();
            let status = if session == "refused" { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::NO_CONTENT };
            sessions.lock().unwrap().push(session);
            status.into_response()
        })
    });
    let guard = guard(&upstream);
    let mut wire = Wire::connect(guard.listen);
    for (session, status) in [("one", 204), ("refused", 405)] {
        wire.write(http("DELETE", &[("mcp-session-id", session)], ""));
        assert_eq!(wire.head().status, status);
    }
    assert_eq!(*ended.lock().unwrap(), ["one", "refused"]);
}

#[test]
fn a_node_that_does_not_begin_to_answer_is_given_up() {
    let upstream = Upstream::start();
    let guard = with(json!({"url": upstream.url(), "timeouts": {"first_byte": "100ms"}}), json!({}));
    let mut wire = Wire::connect(guard.listen);
    wire.write(post(&call_tool(1, "hold", json!({}))));
    let reply = wire.message();
    assert_eq!((reply.status, reply.reason().as_deref()), (504, Some("deadline_exceeded")), "{}", reply.text());
}
