//! Streams that break, and go on elsewhere.

use mcp_guard_tests::upstream::{Upstream, events};
use mcp_guard_tests::{Guard, Wire, call_tool, patiently, post, request, send, send_to};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");

fn guard() -> Guard {
    Guard::with_config(PROGRAM, &format!("upstreams: [{{command: [{NODE}, --stdio]}}]"))
}

fn open(guard: &Guard) -> String {
    let client = json!({"name": "test", "version": "0"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let reply = send(guard.listen, &[], request(0, "initialize", params).to_string());
    reply.header("mcp-session-id").expect("a session").to_owned()
}

/// The fields of the next event of a stream that comes in chunks; comments are passed over.
fn event(wire: &mut Wire) -> Vec<(String, String)> {
    loop {
        let chunk = String::from_utf8(wire.chunk().expect("an event")).expect("text");
        let field = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        let fields: Vec<_> = chunk.lines().filter_map(field).filter(|(name, _)| !name.is_empty()).collect();
        if !fields.is_empty() {
            return fields;
        }
    }
}

fn field<'a>(event: &'a [(String, String)], name: &str) -> &'a str {
    event.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

/// Opens a stream of `session` behind the event `last`.
fn resume(guard: &Guard, session: &str, last: &str) -> Wire {
    let mut wire = Wire::connect(guard.listen);
    let head =
        format!("GET /mcp HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\nmcp-session-id: {session}\r\n");
    wire.write(format!("{head}mcp-protocol-version: 2025-11-25\r\nlast-event-id: {last}\r\n\r\n"));
    wire
}

#[test]
fn a_client_that_loses_its_connection_in_a_call_still_gets_the_result() {
    let guard = guard();
    let session = open(&guard);
    let mut wire = Wire::connect(guard.listen);
    let call = call_tool(1, "sleep", json!({"ms": 3000})).to_string();
    wire.write(post(guard.listen, &[("mcp-session-id", &session)], call));
    let head = wire.head();
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    let first = event(&mut wire);
    assert_eq!(field(&first, "data"), "", "it says nothing but where it begins");
    drop(wire);
    let mut resumed = resume(&guard, &session, field(&first, "id"));
    assert_eq!(resumed.head().status, 200);
    let answer: Value = serde_json::from_str(field(&event(&mut resumed), "data")).expect("JSON");
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!(1), &json!("slept 3000 ms")));
    assert_eq!(resumed.chunk(), None, "and that is all");
    // Whoever lost the answer on its way gets it once more.
    let mut again = resume(&guard, &session, field(&first, "id"));
    assert_eq!(again.head().status, 200);
    assert!(field(&event(&mut again), "data").contains(r#""id":1"#));
}

#[test]
fn a_stream_is_resumed_by_its_own_session_alone_and_no_longer_than_that() {
    let guard = guard();
    let (session, other) = (open(&guard), open(&guard));
    let call = call_tool(1, "test_tool_with_logging", json!({})).to_string();
    let reply = send(guard.listen, &[("mcp-session-id", &session)], call);
    let text = reply.text();
    let ids: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert!(ids.len() >= 2, "each event has an id: {text}");
    let mut resumed = resume(&guard, &session, ids[0]);
    assert_eq!(resumed.head().status, 200);
    assert_eq!(field(&event(&mut resumed), "id"), ids[1]);
    assert_eq!(resume(&guard, &other, ids[0]).head().status, 404);
    send_to(guard.listen, "DELETE", "/mcp", &[("mcp-session-id", &session)], "");
    assert_eq!(resume(&guard, &session, ids[0]).head().status, 404);
}

#[test]
fn a_stream_that_listened_elsewhere_begins_anew_but_no_answer_does() {
    let guard = guard();
    let session = open(&guard);
    // As another guard in front of the same node numbers its streams, or the one before this.
    for (id, status) in [("guard-00000000000000a2-7", 200), ("guard-00000000000000a3-7", 404)] {
        assert_eq!(resume(&guard, &session, id).head().status, status);
    }
}

#[test]
fn what_is_said_while_nobody_listens_is_heard_later() {
    let guard = guard();
    let session = open(&guard);
    let change = |id| {
        let call = call_tool(id, "test_trigger_tool_change", json!({})).to_string();
        // An answer that is no stream, which would carry what the node says too.
        let headers = [("mcp-session-id", session.as_str()), ("accept", "application/json")];
        assert_eq!(send(guard.listen, &headers, call).status, 200);
    };
    let mut listening = resume(&guard, &session, "");
    assert_eq!(listening.head().status, 200);
    change(1);
    let first = event(&mut listening);
    assert!(field(&first, "data").contains("list_changed"));
    drop(listening);
    patiently("the guard sees that it is gone", || guard.metric("mcp_guard_connections") == 0.0);
    change(2);
    let mut resumed = resume(&guard, &session, field(&first, "id"));
    assert_eq!(resumed.head().status, 200);
    let second = event(&mut resumed);
    assert!(field(&second, "data").contains("list_changed") && field(&second, "id") != field(&first, "id"));
}

#[test]
fn a_node_that_numbers_its_events_itself_is_asked_to_resume_them() {
    let upstream = Upstream::scripted(|message| {
        (message.method() == "tools/call").then(|| {
            let (events, response) = events();
            events.send_text("id: own-1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n");
            response
        })
    });
    let guard = Guard::run(PROGRAM, &["--upstream", &upstream.url()]);
    let call = call_tool(1, "x", json!({})).to_string();
    let reply = send(guard.listen, &[("mcp-session-id", "s")], call);
    assert!(reply.text().contains("id: own-1\n") && !reply.text().contains("guard-"), "{}", reply.text());
    let _ = resume(&guard, "s", "own-1").head();
    let seen = upstream.seen();
    let (headers, _) = seen.last().expect("the GET");
    assert_eq!(headers["last-event-id"], "own-1");
}
