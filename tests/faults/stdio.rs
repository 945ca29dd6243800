//! What a stdio node may say on its standard output and error. Beside it another session is served; a call ends in its time,
//! and its session goes on, with the same child or another.

use std::net::TcpStream;
use std::time::Duration;

use mcp_guard_tests::{Guard, Reply, Session, call_tool, patiently, request};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, client};

use crate::processes::memory;
use crate::{PROGRAM, assert_refused, assert_settled, guarded};

const NODE: &str = env!("CARGO_BIN_EXE_faulty-node");

fn guard() -> Guard {
    guarded(json!({"command": [NODE], "timeouts": {"first_byte": "800ms"}}), &json!({}))
}

fn call(session: &Session<'_>, id: i64, tool: &str) -> Reply {
    session.post(call_tool(id, tool, json!({})).to_string())
}

#[track_caller]
fn assert_serves(session: &Session<'_>, id: i64) {
    let reply = call(session, id, "echo");
    assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(id)), "{}", reply.text());
    assert_eq!(reply.json()["result"], json!({"content": []}));
}

/// Calls `tool` in one session, and is served in another meanwhile.
fn beside_another(session: &Session<'_>, other: &Session<'_>, tool: &str) -> Reply {
    std::thread::scope(|scope| {
        let wrong = scope.spawn(|| call(session, 7, tool));
        let mut id = 100;
        patiently("the call that goes wrong has ended", || {
            id += 1;
            assert_serves(other, id);
            wrong.is_finished()
        });
        wrong.join().expect("an answer")
    })
}

/// A call of `tool` that is given up, after which the session goes on with its child.
fn given_up(tool: &str) {
    let guard = guard();
    let (session, other) = (Session::open(&guard), Session::open(&guard));
    let children = guard.children();
    assert_refused(&beside_another(&session, &other, tool), "deadline_exceeded", 504);
    assert_serves(&session, 8);
    assert_settled(&guard, "timed_out", 1.0);
    assert_eq!(guard.children(), children);
}

#[test]
fn a_call_that_is_never_answered_is_given_up_and_its_session_goes_on() {
    given_up("nothing");
}

#[test]
fn an_answer_under_another_id_is_none() {
    given_up("wrong_id");
}

#[test]
fn an_answer_that_is_no_utf_8_is_an_error_and_its_session_goes_on() {
    let guard = guard();
    let (session, other) = (Session::open(&guard), Session::open(&guard));
    assert_refused(&beside_another(&session, &other, "no_utf_8"), "upstream_failed", 502);
    assert_serves(&session, 8);
    assert_settled(&guard, "broken", 1.0);
}

/// A frame of text that is no UTF-8 would end the socket (RFC 6455, section 8.1), and all that is in flight on it: what
/// cannot be read is replaced as in a stream of events (WHATWG HTML, section 9.2.6).
#[test]
fn a_client_on_a_web_socket_outlives_an_answer_that_is_no_utf_8() {
    let yaml = json!({"listeners": [{"web_socket_path": "/ws"}], "upstreams": [{"command": [NODE]}]});
    let guard = Guard::with_config(PROGRAM, &yaml.to_string());
    let stream = TcpStream::connect(guard.listen).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("an open socket");
    let (mut socket, _) = client(format!("ws://{}/ws", guard.listen), stream).expect("a socket");
    let info = json!({"name": "test", "version": "0"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info});
    let requests =
        [request(1, "initialize", params), call_tool(7, "no_utf_8", json!({})), call_tool(8, "echo", json!({}))];
    for request in requests {
        socket.send(Message::text(request.to_string())).expect("it is sent");
        let answer: Value =
            serde_json::from_str(socket.read().expect("a message").to_text().expect("text")).expect("JSON");
        assert_eq!(answer["id"], request["id"]);
    }
}

#[test]
fn an_answer_that_comes_byte_by_byte_has_no_more_time_than_one_at_once() {
    given_up("trickle");
}

#[test]
fn an_answer_that_comes_too_late_goes_to_no_other_call() {
    let guard = guard();
    let (session, other) = (Session::open(&guard), Session::open(&guard));
    assert_refused(&beside_another(&session, &other, "late"), "deadline_exceeded", 504);
    // Until it has come its id is taken, which is told; then it is the next call's.
    patiently("the id is free again", || {
        let reply = call(&session, 7, "echo");
        let is_free = reply.status == 200;
        assert!(is_free || reply.reason().as_deref() == Some("invalid_request"), "{}", reply.text());
        is_free
    });
    assert_settled(&guard, "timed_out", 1.0);
}

#[test]
fn a_second_answer_goes_to_nobody() {
    let guard = guard();
    let (session, other) = (Session::open(&guard), Session::open(&guard));
    for _ in 0..20 {
        let reply = beside_another(&session, &other, "twice");
        assert_eq!(reply.json()["result"], json!({"content": []}), "{}", reply.text());
        // The same id again, for which the second one might be taken.
        assert_serves(&session, 7);
    }
}

#[test]
fn a_line_of_a_gigabyte_ends_the_child_and_not_the_session() {
    let guard = guard();
    let (session, other) = (Session::open(&guard), Session::open(&guard));
    let (before, children) = (memory(guard.pid()), guard.children());
    assert_refused(&beside_another(&session, &other, "huge"), "upstream_failed", 502);
    patiently("its child is gone", || guard.children().iter().filter(|child| children.contains(child)).count() == 1);
    assert_serves(&session, 8);
    let grown = memory(guard.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    patiently("no place is taken", || guard.metric("mcp_guard_in_flight") == 0.0);
}

#[test]
fn an_endless_line_on_the_standard_error_is_read_and_not_kept() {
    let guard = guard();
    let (session, other) = (Session::open(&guard), Session::open(&guard));
    assert_eq!(call(&session, 7, "endless_error").status, 200);
    let before = memory(guard.pid());
    for id in 0..200 {
        assert_serves(&session, 1000 + id);
        assert_serves(&other, 1000 + id);
    }
    let grown = memory(guard.pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
    session.end();
    patiently("only the other child is left", || guard.children().len() == 1);
}
