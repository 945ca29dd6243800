//! What a node on http may do with its connections and answers. Beside each such call others are answered; it ends in its
//! time with an error that has its id; its place is free again, and it is counted once.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use mcp_guard_tests::{Guard, Wire, patiently};
use serde_json::{Value, json};

use crate::processes::{memory, open_files};
use crate::raw::{RawNode, answer, chunk, event_stream, head, reset, trickle};
use crate::{assert_refused, assert_settled, beside_healthy_calls, call, guarded};

/// What a node tells its test, of which the test waits no longer than this.
const TOLD: Duration = Duration::from_secs(20);

/// A guard that waits half a second for an answer, and takes 64 KiB of one.
fn guard(fault: impl Fn(Wire, &Value) -> Option<Wire> + Send + Sync + 'static) -> Guard {
    let node = RawNode::start(fault);
    let timeouts = json!({"first_byte": "500ms"});
    guarded(json!({"url": node.url(), "timeouts": timeouts}), &json!({"response": "64KiB"}))
}

const PAUSE: Duration = Duration::from_millis(50);

#[test]
fn a_node_that_answers_nothing_is_given_up() {
    let (tell, told) = mpsc::sync_channel(1);
    let guard = guard(move |mut wire, _| {
        tell.send(wire.is_closed()).expect("the test waits");
        None
    });
    assert_refused(&beside_healthy_calls(&guard, "fault"), "deadline_exceeded", 504);
    assert_eq!(told.recv_timeout(TOLD), Ok(true), "the guard lets it go");
    assert_settled(&guard, "timed_out", 1.0);
}

#[test]
fn a_head_that_comes_byte_by_byte_has_no_more_time_than_one_at_once() {
    let (tell, told) = mpsc::sync_channel(1);
    let guard = guard(move |mut wire, message| {
        tell.send(trickle(&mut wire, &answer(message, json!({})), PAUSE)).expect("the test waits");
        None
    });
    assert_refused(&beside_healthy_calls(&guard, "fault"), "deadline_exceeded", 504);
    assert_eq!(told.recv_timeout(TOLD), Ok(false), "the guard let it come to its end");
    assert_settled(&guard, "timed_out", 1.0);
}

#[test]
fn a_body_that_comes_byte_by_byte_has_no_more_time_than_one_at_once() {
    let (tell, told) = mpsc::sync_channel(1);
    let guard = guard(move |mut wire, message| {
        wire.write(head("content-length: 100"));
        tell.send(trickle(&mut wire, message.to_string().as_bytes(), PAUSE)).expect("the test waits");
        None
    });
    assert_refused(&beside_healthy_calls(&guard, "fault"), "deadline_exceeded", 504);
    assert_eq!(told.recv_timeout(TOLD), Ok(false), "the guard let it come to its end");
    assert_settled(&guard, "timed_out", 1.0);
}

#[test]
fn a_reset_within_the_head_is_an_error() {
    reset_behind("HTTP/1.1 200 OK\r\ncontent-ty".to_owned());
}

#[test]
fn a_reset_within_the_body_is_an_error() {
    reset_behind(head("content-length: 100") + "{\"jsonrpc\":\"2.0\",\"id\":7,\"resu");
}

/// A node that resets the connection behind a part of its answer.
#[track_caller]
fn reset_behind(part: String) {
    let guard = guard(move |mut wire, _| {
        wire.write(&part);
        reset(wire);
        None
    });
    assert_refused(&beside_healthy_calls(&guard, "fault"), "upstream_failed", 502);
    assert_settled(&guard, "broken", 1.0);
}

#[test]
fn a_reset_within_an_event_ends_the_stream_with_an_error() {
    let guard = guard(|mut wire, message| {
        wire.write(event_stream(message) + "ff\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"resu");
        reset(wire);
        None
    });
    let reply = beside_healthy_calls(&guard, "fault");
    // If the reset overtakes what came before it, the answer is no stream yet.
    assert!(matches!(reply.status, 200 | 502), "{}", reply.text());
    assert_refused(&reply, "upstream_failed", reply.status);
    assert!(!reply.text().contains("\"resu\n"), "half an event was passed on: {}", reply.text());
    assert_settled(&guard, "broken", 1.0);
}

#[test]
fn an_answer_with_another_id_is_an_error_and_goes_to_nobody_else() {
    let guard = guard(|mut wire, _| {
        wire.write(answer(&json!({"id": 101}), json!({"content": [], "stray": true})));
        Some(wire)
    });
    assert_refused(&beside_healthy_calls(&guard, "fault"), "upstream_failed", 502);
    assert_settled(&guard, "broken", 1.0);
    assert_eq!(call(&guard, 101, "echo").json()["result"], json!({"content": []}));
}

#[test]
fn a_second_answer_goes_to_nobody() {
    let guard = guard(|mut wire, message| {
        let stray = answer(&json!({"id": 8}), json!({"content": [], "stray": true}));
        wire.write([answer(message, json!({"content": []})), stray].concat());
        Some(wire)
    });
    for round in 1..=20 {
        assert_eq!(beside_healthy_calls(&guard, "fault").json()["id"], 7);
        let next = call(&guard, 8, "echo");
        assert_eq!(next.json()["result"], json!({"content": []}), "round {round}: {}", next.text());
    }
}

#[test]
fn a_second_answer_on_a_stream_stays_with_its_caller_and_is_not_counted() {
    let guard = guard(|mut wire, message| {
        let event = |stray: bool| {
            let result = json!({"content": [], "stray": stray});
            chunk(&format!("data: {}\n\n", json!({"jsonrpc": "2.0", "id": message["id"], "result": result})))
        };
        wire.write(event_stream(message) + &event(false) + &event(true) + "0\r\n\r\n");
        Some(wire)
    });
    let reply = beside_healthy_calls(&guard, "fault");
    assert!(reply.text().find("\"stray\":false") < reply.text().find("\"stray\":true"), "{}", reply.text());
    patiently("its place is free", || guard.metric("mcp_guard_in_flight") == 0.0);
    assert_eq!(guard.metric("mcp_guard_tool_calls_total{tool=\"fault\",outcome=\"ok\"}"), 1.0);
}

#[test]
fn a_gigabyte_is_cut_off_and_never_held() {
    const GIGABYTE: usize = 1 << 30;
    let (tell, told) = mpsc::sync_channel(1);
    let guard = guard(move |mut wire, _| {
        wire.write(head("transfer-encoding: chunked"));
        let part = chunk(&"x".repeat(1 << 20));
        let sent = (0..GIGABYTE >> 20).take_while(|_| wire.stream().write_all(part.as_bytes()).is_ok()).count();
        tell.send(sent).expect("the test waits");
        None
    });
    let before = memory(guard.pid());
    assert_refused(&beside_healthy_calls(&guard, "fault"), "upstream_failed", 502);
    assert_settled(&guard, "too_large", 1.0);
    let sent = told.recv_timeout(TOLD).expect("the node is let go");
    assert!(sent < 64, "the guard took {sent} MiB");
    let grown = memory(guard.pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more");
}

const NO_UTF_8: &[u8] = b"{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"text\":\"\xc3\x28\"}}";

#[test]
fn an_answer_that_is_no_utf_8_is_an_error() {
    let guard = guard(|mut wire, _| {
        wire.write([head(&format!("content-length: {}", NO_UTF_8.len())).as_bytes(), NO_UTF_8].concat());
        Some(wire)
    });
    assert_refused(&beside_healthy_calls(&guard, "fault"), "upstream_failed", 502);
    assert_settled(&guard, "broken", 1.0);
}

#[test]
fn faults_leave_no_descriptors_behind() {
    let turn = AtomicUsize::new(0);
    let guard = guard(move |mut wire, message| {
        match turn.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => assert!(wire.is_closed()),
            1 => wire.write("HTTP/1.1 200 OK\r\ncontent-ty"),
            2 => wire.write(head("content-length: 100")),
            _ => wire.write(event_stream(message)),
        }
        None
    });
    call(&guard, 1, "echo");
    let before = open_files(guard.pid());
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..64).map(|_| scope.spawn(|| call(&guard, 7, "fault"))).collect();
        for call in calls {
            let reply = call.join().expect("an answer");
            assert!(reply.reason().is_some(), "{}", reply.text());
        }
    });
    // One thread may have kept a connection to the node that had none before.
    patiently("all is given back", || open_files(guard.pid()) <= before + 2);
    assert_eq!(guard.metric("mcp_guard_in_flight"), 0.0);
}
