//! What people look at: `mcp-guard top`, and the admin page in a real browser.

use std::process::Command;

use mcp_guard_tests::peers::{Peers, skip_unless};
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, call_tool, send};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

/// A guard that was called, well and badly; one name would be markup if a page took it for that.
fn called() -> (Guard, Upstream) {
    let node = Upstream::start();
    let config = json!({"version": 1, "upstreams": [{"url": node.url()}], "guard": {"breaker": {"consecutive_failures": 1}, "retry": {"attempts": 1}}});
    let guard = Guard::with_config(PROGRAM, &config.to_string());
    for (tool, times) in [("echo", 3), ("broken", 2)] {
        for id in 0..times {
            send(guard.listen, &[], call_tool(id, tool, json!({})).to_string());
        }
    }
    (guard, node)
}

#[test]
fn top_shows_what_a_guard_does() {
    let (guard, _node) = called();
    let output = Command::new(PROGRAM).args(["top", "--once", "--admin", &guard.admin.to_string()]).output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for part in ["echo", "breaker_open", "TRIPPED", "messages/s", "concurrency limit", "well"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn top_says_who_does_not_answer() {
    let output = Command::new(PROGRAM).args(["top", "--once", "--admin", "127.0.0.1:1"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("mcp-guard top: 127.0.0.1:1: "));
}

#[test]
fn the_admin_page_shows_it_in_a_browser() {
    let Some(peers) = Peers::find(&["typescript", "node"]) else { return };
    if !skip_unless(Command::new("chromium").arg("--version").output().is_ok(), "chromium is installed") {
        return;
    }
    let (guard, _node) = called();
    let told = peers.node("page.mjs", &[&format!("http://{}/", guard.admin), "echo"]);
    let told = told.first().expect("what it shows");
    assert_eq!(told["errors"], json!([]), "scripts and styles are allowed, and nothing fails");
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["alarms"], "");
    let first = |table: &str, row: usize| told[table][row][0].clone();
    assert_eq!((first("tools", 0), &told["tools"][0][2]), (json!("echo"), &json!("3")));
    assert!(told["refusals"].to_string().contains("breaker_open"), "{told}");
    assert_eq!(told["nodes"][0][1], "well");
    assert!(told["nodes"].to_string().contains("tripped"), "{told}");
}

#[test]
fn the_admin_page_loads_nothing_from_elsewhere() {
    let (guard, _node) = called();
    for path in ["/", "/page.js", "/page.css"] {
        let reply = guard.get(path).unwrap();
        assert_eq!(reply.status, 200);
        let policy = reply.header("content-security-policy").unwrap().to_owned();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!reply.text().contains("http://") && !reply.text().contains("https://"), "{path}");
    }
}
