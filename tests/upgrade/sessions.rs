//! Sessions of the guard's own, which go over to the process that takes the place of the one that opened them.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mcp_guard_tests::peers::Peer;
use mcp_guard_tests::{Guard, Reply, Session, Wire, call_tool, patiently, post, request, send, send_to};
use serde_json::json;

use crate::{PROGRAM, call, config, twenty_upgrades};

const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");
const STDIO_NODE: &str = env!("CARGO_BIN_EXE_stdio-node");
const HANDED_OVER: &str = "mcp_guard_session_failovers_total{outcome=\"handed_over\"}";

/// A config with a child for each session, at most so many.
fn children(folder: &Path, children_max: u32) -> String {
    let mut yaml = config(folder, "");
    yaml["upstreams"][0] = json!({"command": [STDIO_NODE], "process": {"children": children_max}});
    yaml.to_string()
}

fn ask(guard: &Guard, session: &str, id: i64) -> Reply {
    send(guard.listen, &[("mcp-session-id", session)], call(id, "echo"))
}

/// The bar of issue 5. Each process has children of its own; the session is the client's, whoever serves it.
#[test]
fn twenty_upgrades_under_load_lose_no_session_of_the_guards_own() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = children(folder.path(), 128);
    let mut guard = Guard::with_config(PROGRAM, &yaml);
    let (listen, is_over, served) = (guard.listen, AtomicBool::new(false), AtomicUsize::new(0));
    let ids: Vec<String> = (0..6).map(|_| Session::open(&guard).id().to_owned()).collect();
    let (busy, silent) = ids.split_at(3);
    let ask = |id: &str, number| {
        let reply = send(listen, &[("mcp-session-id", id)], call(number, "echo"));
        assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(number)), "{}", reply.text());
        served.fetch_add(1, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        let (is_over, ask) = (&is_over, &ask);
        let client = |id| {
            move || {
                let mut number = 0;
                while !is_over.load(Ordering::Relaxed) {
                    number += 1;
                    ask(id, number);
                }
            }
        };
        let clients: Vec<_> = busy.iter().map(|id| scope.spawn(client(id))).collect();
        twenty_upgrades(&mut guard, &yaml, &served);
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().expect("no call is lost"));
    });
    // Nobody asked for these from process to process: each left them to the next.
    silent.iter().for_each(|id| ask(id, 1));
    println!("{} calls in sessions during 20 upgrades", served.load(Ordering::Relaxed));
}

#[test]
fn a_session_that_is_opened_in_either_process_goes_on_in_both() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = children(folder.path(), 128);
    let mut guard = Guard::with_config(PROGRAM, &yaml);
    let (is_over, opened) = (AtomicBool::new(false), AtomicUsize::new(0));
    let _successor = std::thread::scope(|scope| {
        let open = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let session = Session::open(&guard);
                for number in 0..3 {
                    let reply = session.post(call(number, "echo"));
                    assert_eq!(reply.status, 200, "{}", reply.text());
                }
                session.end();
                opened.fetch_add(1, Ordering::Relaxed);
            }
        });
        let successor = guard.upgraded(PROGRAM, &yaml);
        let before = opened.load(Ordering::Relaxed);
        patiently("both have opened some", || opened.load(Ordering::Relaxed) > before + 100 || open.is_finished());
        is_over.store(true, Ordering::Relaxed);
        open.join().expect("no session is lost");
        successor
    });
    assert_eq!(guard.wait(), Some(0));
}

#[test]
fn a_session_knows_in_the_new_process_what_was_said_in_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = children(folder.path(), 128);
    let mut guard = Guard::with_config(PROGRAM, &yaml);
    let session = Session::open(&guard);
    assert_eq!(session.ask(1, "logging/setLevel", json!({"level": "debug"})).status, 200);
    assert_eq!(session.ask(2, "resources/subscribe", json!({"uri": "test://a"})).status, 200);
    let id = session.id().to_owned();
    let successor = guard.upgraded(PROGRAM, &yaml);
    assert_eq!(guard.wait(), Some(0));
    let told = send(successor.listen, &[("mcp-session-id", &id)], call_tool(3, "told", json!({})).to_string());
    let told = told.json()["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned();
    for said in ["initialize", "debug", "test://a"] {
        assert!(told.contains(said), "{said} in {told}");
    }
    assert_eq!(successor.metric(HANDED_OVER), 1.0);
    let strange = send(successor.listen, &[("mcp-session-id", &"0".repeat(32))], call(4, "echo"));
    assert_eq!((strange.status, strange.reason().as_deref()), (404, Some("session_not_found")));
}

#[test]
fn sessions_that_the_guard_keeps_with_any_kind_of_node_go_on_in_the_new_process() {
    let [tcp, http, modern] = ["--tcp", "--listen", "--modern"].map(|over| Peer::conformance_node_over(NODE, over));
    for upstream in [
        json!({"url": format!("tcp://{}", tcp.address())}),
        json!({"url": http.url(), "sessions": {"failover": "reinitialize"}}),
        json!({"url": modern.url(), "era": "stateless"}),
        json!({"url": modern.url(), "era": "auto"}),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut yaml = config(folder.path(), "");
        yaml["upstreams"][0] = upstream;
        let yaml = yaml.to_string();
        let mut guard = Guard::with_config(PROGRAM, &yaml);
        let id = Session::open(&guard).id().to_owned();
        let successor = guard.upgraded(PROGRAM, &yaml);
        for number in 1..3 {
            let listed = request(number, "tools/list", json!({})).to_string();
            let listed = send(successor.listen, &[("mcp-session-id", &id)], listed);
            assert!(listed.json()["result"]["tools"].is_array(), "{yaml}: {}", listed.text());
        }
        assert_eq!(guard.wait(), Some(0));
    }
}

#[test]
fn a_session_that_was_used_after_one_upgrade_is_there_after_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = children(folder.path(), 128);
    let mut first = Guard::with_config(PROGRAM, &yaml);
    let id = Session::open(&first).id().to_owned();
    let mut second = first.upgraded(PROGRAM, &yaml);
    assert_eq!(first.wait(), Some(0));
    assert_eq!(ask(&second, &id, 1).status, 200);
    let third = second.upgraded(PROGRAM, &yaml);
    assert_eq!(second.wait(), Some(0));
    assert_eq!(ask(&third, &id, 2).status, 200);
}

/// A guard with a place for one session, and the id of one that the guard before has left to it.
fn left_to_one_with_a_single_place() -> (Guard, String) {
    let folder = tempfile::tempdir().unwrap();
    let yaml = children(folder.path(), 1);
    let mut guard = Guard::with_config(PROGRAM, &yaml);
    let id = Session::open(&guard).id().to_owned();
    let successor = guard.upgraded(PROGRAM, &yaml);
    assert_eq!(guard.wait(), Some(0));
    (successor, id)
}

#[test]
fn a_session_that_finds_no_place_is_told_so_and_goes_on_when_there_is_one() {
    let (successor, id) = left_to_one_with_a_single_place();
    let other = Session::open(&successor);
    assert_eq!(ask(&successor, &id, 1).reason().as_deref(), Some("too_many_sessions"));
    other.end();
    patiently("there is a place", || ask(&successor, &id, 2).status == 200);
}

#[test]
fn a_stranger_ends_no_session_of_another_process() {
    let folder = tempfile::tempdir().unwrap();
    let node = Peer::conformance_node(NODE);
    let mut yaml = config(folder.path(), &node.url());
    yaml["upstreams"][0]["sessions"] = json!({"failover": "reinitialize"});
    let mut guard = Guard::with_config(PROGRAM, &yaml.to_string());
    let client = json!({"name": "c", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    let token = ("authorization", "Bearer a");
    let opened = send(guard.listen, &[token], request(1, "initialize", params).to_string());
    let session = ("mcp-session-id", opened.header("mcp-session-id").expect("a session"));
    let successor = guard.upgraded(PROGRAM, &yaml.to_string());
    assert_eq!(guard.wait(), Some(0));
    let end = |headers: &[(&str, &str)]| send_to(successor.listen, "DELETE", "/mcp", headers, "").status;
    let ping = || send(successor.listen, &[session, token], request(2, "ping", json!({})).to_string()).status;
    assert_eq!(end(&[session]), 404);
    assert_eq!(ping(), 200);
    assert_eq!((end(&[session, token]), ping()), (204, 404));
}

#[test]
fn a_session_that_is_left_ends_without_a_place() {
    let (successor, id) = left_to_one_with_a_single_place();
    let other = Session::open(&successor);
    let ended = send_to(successor.listen, "DELETE", "/mcp", &[("mcp-session-id", &id)], "");
    assert_eq!(ended.status, 204);
    other.end();
    assert_eq!(ask(&successor, &id, 1).reason().as_deref(), Some("session_not_found"));
}

#[test]
fn a_session_that_is_ended_in_one_process_is_over_in_both() {
    let folder = tempfile::tempdir().unwrap();
    let yaml = children(folder.path(), 128);
    let mut guard = Guard::with_config(PROGRAM, &yaml);
    let id = Session::open(&guard).id().to_owned();
    let ping = request(1, "ping", json!({})).to_string();
    let mut kept = Wire::connect(guard.listen);
    kept.write(post(guard.listen, &[("mcp-session-id", &id)], ping));
    assert_eq!(kept.message().status, 200);
    let successor = guard.upgraded(PROGRAM, &yaml);
    patiently("the new one has it", || ask(&successor, &id, 2).status == 200 && successor.metric(HANDED_OVER) == 1.0);
    // The connection is the old one's.
    kept.write(format!("DELETE /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nmcp-session-id: {id}\r\n\r\n"));
    assert_eq!(kept.message().status, 204);
    assert_eq!(guard.wait(), Some(0));
    assert_eq!(ask(&successor, &id, 3).reason().as_deref(), Some("session_not_found"));
    assert_eq!(successor.metric("mcp_guard_sessions"), 0.0);
}
