//! A new process takes the place of the one that serves: nobody is refused, nothing that was accepted is lost.

mod sessions;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mcp_guard_tests::upstream::{Upstream, rpc};
use mcp_guard_tests::{Guard, Reply, Wire, call_tool, free_address, patiently, post, send};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

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

/// Puts another process in the place of `guard`, twenty times, each time waiting until some more calls were served.
fn twenty_upgrades(guard: &mut Guard, yaml: &str, served: &AtomicUsize) {
    let mut predecessors = Vec::new();
    for _ in 0..20 {
        let before = served.load(Ordering::Relaxed);
        let successor = guard.upgraded(PROGRAM, yaml);
        predecessors.push(std::mem::replace(guard, successor));
        patiently("calls go on", || served.load(Ordering::Relaxed) > before + 10);
    }
    assert!(predecessors.iter_mut().all(|guard| guard.wait() == Some(0)));
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
        twenty_upgrades(&mut guard, &yaml, &served);
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
