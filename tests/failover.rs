//! A node that dies with many sessions open and calls in flight, as a real process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use mcp_guard_tests::peers::Peer;
use mcp_guard_tests::{Guard, Reply, Session, call_tool, free_address, patiently, request};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");
const SESSIONS: usize = 50;

/// A node on TCP at `address`, which writes to `log` what it executes.
fn node(address: SocketAddr, log: &Path) -> Peer {
    let mut command = Command::new(NODE);
    Peer::start(command.args(["--tcp", &address.to_string()]).env("CONFORMANCE_NODE_LOG", log), address)
}

fn executed(log: &Path, what: &str) -> usize {
    std::fs::read_to_string(log).unwrap_or_default().lines().filter(|line| *line == what).count()
}

fn guard(address: SocketAddr, more: &str) -> Guard {
    let upstream = format!("{{url: 'tcp://{address}'{more}}}");
    let guard = "{rate_limits: [], queue: {adaptive: false}, validation: {arguments: off}}";
    Guard::with_config(PROGRAM, &format!("upstreams: [{upstream}]\nguard: {guard}"))
}

fn works(session: &Session<'_>) -> bool {
    let reply = session.post(call_tool(9, "add", json!({"a": 1, "b": 2})).to_string());
    reply.json()["result"]["content"][0]["text"] == "3"
}

/// No session is lost, no call is repeated that is not safe to repeat, and all that are safe succeed.
#[test]
fn fifty_sessions_outlive_their_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("executed");
    let address = free_address();
    let first = node(address, &log);
    let guard = guard(address, "");
    let sessions: Vec<_> = (0..SESSIONS).map(|_| Session::open(&guard)).collect();
    let (calls, reads): (Vec<Reply>, Vec<Reply>) = std::thread::scope(|scope| {
        let calls: Vec<_> = sessions
            .iter()
            .map(|session| scope.spawn(|| session.post(call_tool(1, "sleep", json!({"ms": 60_000})).to_string())))
            .collect();
        let reads: Vec<_> = sessions
            .iter()
            .map(|session| {
                let read = request(2, "resources/read", json!({"uri": "test://slow"})).to_string();
                scope.spawn(|| session.post(read))
            })
            .collect();
        let all_run = || executed(&log, "sleep") == SESSIONS && executed(&log, "test://slow") == SESSIONS;
        patiently("all calls are with the node", all_run);
        drop(first);
        let second = node(address, &log);
        let joined = |handles: Vec<std::thread::ScopedJoinHandle<'_, Reply>>| {
            handles.into_iter().map(|handle| handle.join().expect("an answer")).collect()
        };
        let replies = (joined(calls), joined(reads));
        assert!(sessions.iter().all(works), "a session is lost");
        drop(second);
        replies
    });
    assert!(calls.iter().all(|reply| reply.reason().as_deref() == Some("upstream_failed")), "{calls:?}");
    assert_eq!(executed(&log, "sleep"), SESSIONS, "a call was repeated that may not be");
    for read in &reads {
        assert_eq!(read.json()["result"]["contents"][0]["text"], "slow", "{}", read.text());
    }
}

#[test]
fn without_failover_a_session_ends_with_its_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("executed");
    let address = free_address();
    let first = node(address, &log);
    let guard = guard(address, ", sessions: {failover: off}");
    let session = Session::open(&guard);
    assert!(works(&session));
    drop(first);
    let _second = node(address, &log);
    let mut reply = session.post(request(3, "ping", json!({})).to_string());
    // What is sent before the guard has seen the end is lost with it.
    if reply.reason().as_deref() == Some("upstream_failed") {
        reply = session.post(request(4, "ping", json!({})).to_string());
    }
    assert_eq!((reply.status, reply.reason().as_deref()), (404, Some("session_not_found")));
}
