//! Processes that are stopped, go on, and are killed: nodes, and the guard itself.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Reply, Session, Wire, call_tool, free_address, kill, patiently, post, send_to};
use serde_json::{Value, json};

use crate::{assert_refused, assert_settled, guarded};

const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");
const STDIO_NODE: &str = env!("CARGO_BIN_EXE_faulty-node");

/// A node on http in a process of its own, ended with SIGKILL when it is dropped.
struct Node {
    process: Child,
    address: SocketAddr,
}

impl Node {
    fn start(address: SocketAddr) -> Self {
        let mut command = Command::new(NODE);
        command.args(["--listen", &address.to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn();
        let node = Self { process: process.expect("the node starts"), address };
        patiently("the node listens", || std::net::TcpStream::connect(address).is_ok());
        node
    }

    fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    fn is_well(&self, guard: &Guard) -> bool {
        guard.metric(&format!("mcp_guard_upstream_healthy{{node=\"{}\"}}", self.address)) == 1.0
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A call that takes so long.
fn slow(session: &Session<'_>, ms: u64) -> Reply {
    session.post(call_tool(7, "sleep", json!({"ms": ms})).to_string())
}

fn add(session: &Session<'_>) -> Reply {
    session.post(call_tool(7, "add", json!({"a": 1, "b": 2})).to_string())
}

fn is_answered(reply: &Reply) -> bool {
    reply.json()["result"]["content"][0]["text"] == "3"
}

/// Such a node is a half-open peer too: its system takes what is sent, and nobody is there.
#[test]
fn a_stopped_node_costs_its_callers_their_time_and_when_it_goes_on_so_do_its_sessions() {
    let nodes = [free_address(), free_address()].map(Node::start);
    let health = json!({"interval": "100ms", "timeout": "100ms", "unhealthy_after": 1, "healthy_after": 1});
    let urls: Vec<String> = nodes.iter().map(Node::url).collect();
    let sessions = json!({"failover": "off"});
    let upstream = json!({"urls": urls, "timeouts": {"first_byte": "500ms"}, "health": health, "sessions": sessions});
    let guard = guarded(upstream, &json!({}));
    let sessions: Vec<Session<'_>> = (0..12).map(|_| Session::open(&guard)).collect();
    let stopped = nodes[0].process.id();
    kill(stopped, "STOP");
    let replies: Vec<Reply> = sessions.iter().map(add).collect();
    let (well, ill): (Vec<&Reply>, Vec<&Reply>) = replies.iter().partition(|reply| is_answered(reply));
    assert!(!well.is_empty() && !ill.is_empty(), "both nodes have sessions: {replies:?}");
    assert_refused(ill[0], "deadline_exceeded", 504);
    patiently("it is known", || !nodes[0].is_well(&guard) && nodes[1].is_well(&guard));
    kill(stopped, "CONT");
    patiently("it is known that it goes on", || nodes[0].is_well(&guard));
    patiently("all sessions go on", || sessions.iter().all(|session| is_answered(&add(session))));
    patiently("no place is taken", || guard.metric("mcp_guard_in_flight") == 0.0);
}

#[test]
fn a_node_killed_in_a_call_ends_it_and_its_session_and_another_one_in_its_place_is_called_at_once() {
    let address = free_address();
    let node = Node::start(address);
    let guard = guarded(json!({"url": node.url(), "sessions": {"failover": "off"}}), &json!({}));
    let session = Session::open(&guard);
    std::thread::scope(|scope| {
        let cut = scope.spawn(|| slow(&session, 60_000));
        patiently("the call is with the node", || guard.metric("mcp_guard_in_flight") == 1.0);
        assert!(is_answered(&add(&Session::open(&guard))), "another call beside it");
        drop(node);
        // This node begins a stream that can be resumed, so its client may ask for the rest.
        let cut = cut.join().expect("an answer");
        assert_eq!((cut.status, cut.json()), (200, Value::Null), "{}", cut.text());
    });
    assert_settled(&guard, "broken", 1.0);
    let _node = Node::start(address);
    let headers = [("accept", "text/event-stream"), ("mcp-session-id", session.id()), ("last-event-id", "0/0")];
    assert_eq!(send_to(guard.listen, "GET", "/mcp", &headers, "").status, 404, "the node has lost its streams");
    assert_eq!(add(&session).status, 404, "and its sessions");
    assert!(is_answered(&add(&Session::open(&guard))));
}

#[test]
fn a_stopped_child_costs_its_own_session_time_and_no_other() {
    let upstream = json!({"command": [STDIO_NODE], "timeouts": {"first_byte": "500ms"}});
    let guard = guarded(upstream, &json!({}));
    let session = Session::open(&guard);
    let child = guard.children()[0];
    let other = Session::open(&guard);
    let echo = |session: &Session<'_>| session.post(call_tool(7, "echo", json!({})).to_string());
    kill(child, "STOP");
    std::thread::scope(|scope| {
        let ill = scope.spawn(|| echo(&session));
        patiently("the call has ended", || {
            assert_eq!(echo(&other).status, 200);
            ill.is_finished()
        });
        assert_refused(&ill.join().expect("an answer"), "deadline_exceeded", 504);
    });
    assert_settled(&guard, "timed_out", 1.0);
    kill(child, "CONT");
    // The answer to the call that was given up is on its way, and its id is not free before.
    patiently("the session goes on", || echo(&session).status == 200);
    assert!(guard.children().contains(&child), "with the same child");
}

#[test]
fn a_guard_that_is_stopped_and_goes_on_has_lost_nothing() {
    let node = Upstream::start();
    let guard = guarded(json!({"url": node.url()}), &json!({}));
    let [mut before, mut within] = [(); 2].map(|()| Wire::connect(guard.listen));
    before.write(post(guard.listen, &[], call_tool(1, "hold", json!({})).to_string()));
    patiently("a call is with the node", || node.calls() == 1);
    guard.signal("STOP");
    patiently("the guard is stopped", || state(guard.pid()) == Some('T'));
    within.write(post(guard.listen, &[], call_tool(2, "echo", json!({})).to_string()));
    let mut new = Wire::connect(guard.listen);
    new.write(post(guard.listen, &[], call_tool(3, "echo", json!({})).to_string()));
    node.release(1);
    guard.signal("CONT");
    for (id, wire) in (1..).zip([&mut before, &mut within, &mut new]) {
        let reply = wire.message();
        assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(id)), "{}", reply.text());
    }
    assert_settled(&guard, "ok", 3.0);
}

#[test]
fn a_guard_that_is_killed_ends_its_connections_and_leaves_no_child_behind_not_even_a_stopped_one() {
    let mut guard = guarded(json!({"command": [STDIO_NODE]}), &json!({}));
    let session = Session::open(&guard);
    let children = guard.children();
    kill(children[0], "STOP");
    patiently("the child is stopped", || state(children[0]) == Some('T'));
    let mut wire = Wire::connect(guard.listen);
    let headers = [("mcp-session-id", session.id())];
    wire.write(post(guard.listen, &headers, call_tool(7, "echo", json!({})).to_string()));
    patiently("the call is with the child", || guard.metric("mcp_guard_in_flight") == 1.0);
    guard.signal("KILL");
    guard.wait();
    assert!(wire.is_closed(), "half an answer");
    patiently("the child is gone", || children.iter().all(|child| matches!(state(*child), None | Some('Z' | 'X'))));
}

/// What a process does, in the letter of `ps`; `None` where there is none.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Bytes of memory that a process has.
pub(crate) fn memory(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// How many files and sockets a process has open.
pub(crate) fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("a process").count()
}

/// A hundredth of a second for each that a process was given on any core.
pub(crate) fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("its fields").1.split(' ').collect();
    // utime and stime, the 14th and 15th of all.
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}
