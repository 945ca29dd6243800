//! The guard in front of a node in Erlang that has the weaknesses of erlmcp (`examples/erlang`).
//!
//! What kills or hangs such a node is sent twice: to the node alone, which shows that it does, and through the guard.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use mcp_guard_tests::peers::skip_unless;
use mcp_guard_tests::{Guard, Reply, Session, call_tool, patiently};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/erlang/node.escript");
const CONFIG: &str = include_str!("../examples/erlang/guard.yaml");
const PING: &str = r#"{"jsonrpc":"2.0","id":"alive?","method":"ping"}"#;
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"0"}}}"#;

/// What an unguarded node does with a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Alone {
    Dies,
    SaysNothing,
}

/// What the guard does with it.
#[derive(Clone, Copy, Debug)]
enum Guarded {
    Refused(&'static str),
    Served,
}

use Alone::{Dies, SaysNothing};
use Guarded::{Refused, Served};

/// "What kills or hangs it" of erlmcp v3, as far as stdio can show it.
const ROWS: [(&str, Alone, Guarded); 19] = [
    ("{nonsense", SaysNothing, Refused("parse_error")),
    (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, SaysNothing, Refused("invalid_request")),
    (r#"{"id":1,"method":"ping"}"#, SaysNothing, Refused("invalid_request")),
    (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, SaysNothing, Refused("invalid_request")),
    (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, SaysNothing, Refused("invalid_request")),
    (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, SaysNothing, Refused("invalid_request")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, Dies, Refused("invalid_params")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#, Dies, Refused("invalid_params")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"echo"}"#, Dies, Refused("invalid_request")),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":7}}"#,
        Dies,
        Refused("invalid_params"),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":[]}}"#,
        Dies,
        Refused("invalid_params"),
    ),
    (r#"{"jsonrpc":"2.0","id":1,"method":"resources/read"}"#, Dies, Refused("invalid_params")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get"}"#, Dies, Refused("invalid_params")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#, Dies, Refused("invalid_params")),
    (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, Dies, Served),
    (r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list"}"#, Dies, Served),
    (r#"{"jsonrpc":"2.0","id":1,"method":"resources/list"}"#, Dies, Served),
    (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Dies, Refused("invalid_request")),
    (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"?"}}"#, Dies, Refused("invalid_request")),
];

fn erlang() -> bool {
    let version = Command::new("escript").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    skip_unless(version.is_ok(), "escript is installed")
}

fn guard(more: &str) -> Guard {
    Guard::with_config(PROGRAM, &format!("{}{more}", CONFIG.replace("examples/erlang/node.escript", SCRIPT)))
}

/// What the node says to `messages` when nobody guards it, and whether it ends of itself.
fn alone(messages: &[&str]) -> (Vec<Value>, bool) {
    let mut command = Command::new("escript");
    command.arg(SCRIPT).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut node = command.spawn().expect("the node starts");
    let mut input = node.stdin.take().expect("its input");
    let output = BufReader::new(node.stdout.take().expect("its output"));
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    for message in messages {
        // A node that is dead already reads no more.
        let _ = writeln!(input, "{message}");
    }
    let mut said = Vec::new();
    let ended = loop {
        match told.recv_timeout(Duration::from_secs(20)) {
            Ok(line) => {
                let message: Value = serde_json::from_str(&line).expect("JSON");
                let is_alive = message["id"] == "alive?";
                said.push(message);
                if is_alive {
                    break false;
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break true,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("it neither answers nor ends"),
        }
    };
    drop(input);
    node.wait().expect("it ends");
    (said, ended)
}

#[test]
fn an_unguarded_node_dies_or_says_nothing() {
    if !erlang() {
        return;
    }
    for (message, expected, _) in ROWS {
        // Rows about `initialize` come first in a session.
        let opening = if message.contains("initialize") { "" } else { INITIALIZE };
        let (said, ended) = alone(&[opening, message, PING]);
        assert_eq!(ended, expected == Dies, "{message}");
        assert!(said.iter().all(|answer| answer["id"] == 0 || answer["id"] == "alive?" || answer["id"].is_null()));
    }
}

#[test]
fn a_guarded_node_serves_whatever_is_sent() {
    if !erlang() {
        return;
    }
    let guard = guard("");
    let session = Session::open(&guard);
    let children = guard.children();
    assert_eq!(children.len(), 1);
    for (message, _, expected) in ROWS {
        let reply = session.post(message);
        match expected {
            Refused(reason) => assert_eq!(reply.reason().as_deref(), Some(reason), "{message}: {}", reply.text()),
            Served => assert!(reply.json()["result"].is_object(), "{message}: {}", reply.text()),
        }
        assert_eq!(text(&session.post(echo("still here"))), "still here", "after {message}");
    }
    assert_eq!(guard.children(), children, "it is the same node");
}

#[test]
fn a_session_that_crashes_takes_no_other_with_it_and_goes_on() {
    if !erlang() {
        return;
    }
    let guard = guard("");
    let (crashing, other) = (Session::open(&guard), Session::open(&guard));
    let reply = crashing.post(call_tool(1, "crash", json!({})).to_string());
    assert_eq!((reply.status, reply.reason().as_deref()), (502, Some("upstream_failed")), "{}", reply.text());
    assert_eq!(text(&other.post(echo("unhurt"))), "unhurt");
    assert_eq!(text(&crashing.post(echo("anew"))), "anew");
}

#[test]
fn a_call_that_ran_and_failed_is_not_repeated() {
    if !erlang() {
        return;
    }
    let guard = guard("guard: {retry: {attempts: 3, base: 1ms, cap: 2ms, trust_annotations: true}}\n");
    let session = Session::open(&guard);
    let reply = session.post(call_tool(1, "internal_error", json!({})).to_string());
    assert_eq!(reply.json()["error"]["code"], -32603, "{}", reply.text());
    // The one that failed, and this one.
    assert_eq!(text(&session.post(call_tool(2, "calls", json!({})).to_string())), "2");
}

#[test]
fn a_call_is_answered_before_the_node_is_told_to_stop() {
    if !erlang() {
        return;
    }
    let mut guard = guard("shutdown: {drain: 10s, grace: 2s}\n");
    let session = Session::open(&guard);
    let nodes = guard.children();
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| session.post(call_tool(1, "sleep", json!({"ms": 1000})).to_string()));
        patiently("the call is on its way", || guard.metric("mcp_guard_in_flight") >= 1.0);
        guard.signal("TERM");
        assert_eq!(text(&sleeping.join().expect("an answer")), "slept");
    });
    assert_eq!(guard.wait(), Some(0));
    for node in nodes {
        patiently("the node ends", || !std::path::Path::new(&format!("/proc/{node}")).exists());
    }
}

fn echo(text: &str) -> String {
    call_tool(7, "echo", json!({"text": text})).to_string()
}

fn text(reply: &Reply) -> String {
    reply.json()["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
}
