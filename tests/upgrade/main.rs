//! A new process takes the place of the one that serves: nobody is refused, nothing that was accepted is lost.

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mcp_guard_tests::peers::Peer;
use mcp_guard_tests::upstream::{Upstream, rpc};
use mcp_guard_tests::{Guard, Reply, Session, Wire, call_tool, free_address, patiently, post, request, send};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");
const STDIO_NODE: &str = env!("CARGO_BIN_EXE_stdio-node");

fn config(folder: &Path, url: &str) -> Value {
    json!({
        "version": 1,
        "upstreams": [{"url": url}],
        "guard": {"rate_limits": []},
        "shutdown": {"hand_over": folder.join("hand-over.sock")},
    })
}

/// Runs a guard that is not waited for, with a file of its own in `folder`.
fn run(folder: &Path, config: &Value, flags: &[&str]) -> Child {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile_in(folder).unwrap();
    file.write_all(config.to_string().as_bytes()).unwrap();
    let (_, file) = file.keep().unwrap();
    Command::new(PROGRAM).arg("run").args(flags).arg("-c").arg(file).spawn().expect("it runs")
}

fn call(id: i64, tool: &str) -> String {
    call_tool(id, tool, json!({"text": id})).to_string()
}

/// Calls over a connection that is kept until the guard closes it, and then over another, and over new ones between.
fn calls_until(guard: SocketAddr, first: i64, is_over: &AtomicBool, served: &AtomicUsize) {
    let check = |reply: &Reply, id: i64| {
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(reply.json()["id"], id);
        served.fetch_add(1, Ordering::Relaxed);
    };
    let (mut id, mut kept) = (first, Wire::connect(guard));
    while !is_over.load(Ordering::Relaxed) {
        id += 1;
        kept.write(post(guard, &[], call(id, "echo")));
        let reply = kept.message();
        check(&reply, id);
        if reply.header("connection") == Some("close") {
            kept = Wire::connect(guard);
        }
        check(&send(guard, &[], call(id, "echo")), id);
    }
}

#[test]
fn twenty_upgrades_under_load_lose_no_call() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Upstream::start());
    let yaml = config(folder.path(), &node.url()).to_string();
    let mut guard = Guard::with_config(PROGRAM, &yaml);
    let (listen, is_over, served) = (guard.listen, AtomicBool::new(false), AtomicUsize::new(0));
    let calls = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|client| {
                scope.spawn({
                    let (is_over, served) = (&is_over, &served);
                    move || calls_until(listen, client * 1_000_000, is_over, served)
                })
            })
            .collect();
        let mut predecessors = Vec::new();
        for _ in 0..20 {
            let before = served.load(Ordering::Relaxed);
            let successor = guard.upgraded(PROGRAM, &yaml);
            predecessors.push(std::mem::replace(&mut guard, successor));
            patiently("calls go on", || served.load(Ordering::Relaxed) > before + 10);
        }
        assert!(predecessors.iter_mut().all(|guard| guard.wait() == Some(0)));
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().expect("no call is lost"));
        served.load(Ordering::Relaxed)
    });
    println!("{calls} calls during 20 upgrades");
}

#[test]
fn a_call_that_the_old_process_accepted_is_answered_by_it() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Upstream::start());
    let yaml = config(folder.path(), &node.url()).to_string();
    let mut guard = Guard::with_config(PROGRAM, &yaml);
    let mut held = Wire::connect(guard.listen);
    held.write(post(guard.listen, &[], call(7, "hold")));
    patiently("it has arrived", || node.calls() == 1);
    let successor = guard.upgraded(PROGRAM, &yaml);
    assert_eq!(send(successor.listen, &[], call(8, "echo")).status, 200);
    node.release(1);
    let reply = held.message();
    assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(7)));
    assert_eq!(guard.wait(), Some(0));
    assert_eq!(send(successor.listen, &[], call(9, "echo")).status, 200);
}

#[test]
fn a_session_of_the_nodes_goes_on_in_the_new_process() {
    let folder = tempfile::tempdir().unwrap();
    let node = Upstream::scripted(|message| {
        let session = message.headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).unwrap_or("none");
        let result = json!({"content": [{"type": "text", "text": session}]});
        (message.method() == "tools/call").then(|| rpc(&message.result(result)))
    });
    let yaml = config(folder.path(), &node.url()).to_string();
    let mut guard = Guard::with_config(PROGRAM, &yaml);
    let session = |guard: &Guard| {
        let reply = send(guard.listen, &[("mcp-session-id", "of-the-node")], call(1, "echo"));
        reply.json()["result"]["content"][0]["text"].clone()
    };
    assert_eq!(session(&guard), "of-the-node");
    let successor = guard.upgraded(PROGRAM, &yaml);
    assert_eq!(guard.wait(), Some(0));
    assert_eq!(session(&successor), "of-the-node");
}

/// The bar of issue 5. Each process has children of its own; the session is the client's, whoever serves it.
#[test]
fn twenty_upgrades_under_load_lose_no_session_of_the_guards_own() {
    let folder = tempfile::tempdir().unwrap();
    let mut yaml = config(folder.path(), "");
    yaml["upstreams"][0] = json!({"command": [STDIO_NODE]});
    let yaml = yaml.to_string();
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
        let mut predecessors = Vec::new();
        for _ in 0..20 {
            let before = served.load(Ordering::Relaxed);
            let successor = guard.upgraded(PROGRAM, &yaml);
            predecessors.push(std::mem::replace(&mut guard, successor));
            patiently("calls go on", || served.load(Ordering::Relaxed) > before + 10);
        }
        assert!(predecessors.iter_mut().all(|guard| guard.wait() == Some(0)));
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
    let mut yaml = config(folder.path(), "");
    yaml["upstreams"][0] = json!({"command": [STDIO_NODE]});
    let mut guard = Guard::with_config(PROGRAM, &yaml.to_string());
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
        let successor = guard.upgraded(PROGRAM, &yaml.to_string());
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
    let mut yaml = config(folder.path(), "");
    yaml["upstreams"][0] = json!({"command": [STDIO_NODE]});
    let yaml = yaml.to_string();
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
    assert_eq!(successor.metric("mcp_guard_session_failovers_total{outcome=\"handed_over\"}"), 1.0);
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
        let mut guard = Guard::with_config(PROGRAM, &yaml.to_string());
        let id = Session::open(&guard).id().to_owned();
        let successor = guard.upgraded(PROGRAM, &yaml.to_string());
        for number in 1..3 {
            let listed = request(number, "tools/list", json!({})).to_string();
            let listed = send(successor.listen, &[("mcp-session-id", &id)], listed);
            assert!(listed.json()["result"]["tools"].is_array(), "{yaml}: {}", listed.text());
        }
        assert_eq!(guard.wait(), Some(0));
    }
}

#[test]
fn who_cannot_hand_over_serves_on() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Upstream::start());
    let mut yaml = config(folder.path(), &node.url());
    yaml["shutdown"] = json!({});
    let guard = Guard::with_config(PROGRAM, &yaml.to_string());
    guard.signal("QUIT");
    for id in 0..3 {
        assert_eq!(send(guard.listen, &[], call(id, "echo")).status, 200);
    }
    assert_eq!(guard.get("/readyz").unwrap().status, 200);
}

#[test]
fn a_successor_that_cannot_start_leaves_the_old_one_serving() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Upstream::start());
    let mut yaml = config(folder.path(), &node.url());
    let guard = Guard::with_config(PROGRAM, &yaml.to_string());
    // Valid, and only found out when it starts.
    yaml["upstreams"][0] = json!({"url": "https://127.0.0.1:1/mcp", "tls": {"ca": "/nowhere/ca.crt"}});
    let mut successor = run(folder.path(), &yaml, &["--upgrade", &guard.pid().to_string()]);
    assert_eq!(successor.wait().unwrap().code(), Some(1));
    for id in 0..3 {
        assert_eq!(send(guard.listen, &[], call(id, "echo")).status, 200);
    }
    assert_eq!(guard.get("/readyz").unwrap().status, 200);
}

#[test]
fn a_listener_that_the_new_config_has_no_more_is_closed() {
    let (folder, node) = (tempfile::tempdir().unwrap(), Upstream::start());
    let (kept, gone, admin) = (free_address(), free_address(), free_address());
    let yaml = |addresses: &[SocketAddr]| {
        let mut yaml = config(folder.path(), &node.url());
        yaml["listeners"] = addresses.iter().map(|address| json!({"address": address})).collect();
        yaml["admin"] = json!({"address": admin});
        yaml
    };
    let serves = |address: SocketAddr| std::net::TcpStream::connect(address).is_ok();
    let mut old = run(folder.path(), &yaml(&[kept, gone]), &[]);
    patiently("both are served", || serves(kept) && serves(gone));
    let mut new = run(folder.path(), &yaml(&[kept]), &["--upgrade", &old.id().to_string()]);
    assert_eq!(old.wait().unwrap().code(), Some(0));
    assert!(serves(kept));
    assert!(!serves(gone), "nobody would accept there");
    new.kill().unwrap();
    new.wait().unwrap();
}
