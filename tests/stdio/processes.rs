//! What becomes of processes, and of calls when they die.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio as Pipe};
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use mcp_guard::call::Kind;
use mcp_guard::middleware::{McpService, Node, UpstreamError};
use mcp_guard::refusal::Reason;
use mcp_guard::session::Profile;
use mcp_guard_sidecar::upstream::sessions::{Health, SessionOptions};
use mcp_guard_sidecar::upstream::stdio::{self, StdioOptions};
use mcp_guard_tests::stdio::INITIALIZE;
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::ServiceExt;

use crate::{DEADLINE, HOST, NODE, Options, node, reason, runs, until};

#[tokio::test]
async fn without_failover_a_crash_ends_the_session_with_its_calls_and_the_next_one_works() {
    let (client, node) = node(|options| options.sessions.fails_over = false);
    let session = client.open().await;
    let waiting = {
        let (client, session) = (client.clone(), session.clone());
        tokio::spawn(async move { client.call(&session, &json!("w"), "silent", json!({})).await.map(|_| ()) })
    };
    // The answer shows that the node has read what came before it.
    assert_eq!(client.tool(&session, "echo", json!({"text": "x"})).await, "x");
    let crashed = client.call(&session, &json!(2), "crash", json!({})).await;
    assert!(matches!(crashed, Err(UpstreamError::Failed(_))), "{crashed:?}");
    assert!(matches!(waiting.await.unwrap(), Err(UpstreamError::Failed(_))));
    assert_eq!(reason(client.call(&session, &json!(3), "echo", json!({})).await), Reason::SessionNotFound);
    let next = client.open().await;
    assert_eq!(client.tool(&next, "echo", json!({"text": "again"})).await, "again");
    until("only the second child is left", || node.links() == 1 && node.sessions() == 1).await;
}

#[tokio::test]
async fn behind_the_guard_a_killed_node_is_a_502_and_an_unknown_session_a_404() {
    let (client, node) = node(|options| options.sessions.fails_over = false);
    let session = client.open().await;
    let pid = client.tool(&session, "pid", json!({})).await;
    let guard = McpService::new(Node::new(node));
    let request = |name: &str| {
        let body =
            json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": name, "arguments": {}}});
        http::Request::post("/mcp")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-session-id", &session)
            .body(http_body_util::Full::new(bytes::Bytes::from(body.to_string())))
            .unwrap()
    };
    let in_flight = tokio::spawn(guard.clone().oneshot(request("silent")));
    assert_eq!(client.tool(&session, "echo", json!({"text": "x"})).await, "x");
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let response = in_flight.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    let body: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!((&body["id"], &body["error"]["data"]["guard"]), (&json!(7), &json!("upstream_failed")));
    let response = guard.oneshot(request("echo")).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_last_words_of_a_node_are_heard() {
    let (client, _node) = node(|_| ());
    for _ in 0..20 {
        let session = client.open().await;
        assert_eq!(client.tool(&session, "last_words", json!({})).await, "bye");
    }
}

#[tokio::test]
async fn a_hundred_sessions_leave_no_child() {
    let (client, node) = node(|_| ());
    let mut pids = Vec::new();
    for _ in 0..100 {
        let session = client.open().await;
        pids.push(client.tool(&session, "pid", json!({})).await);
        client.without_body(Kind::End, &session).await.unwrap();
    }
    until("all children are gone", || node.links() == 0 && pids.iter().all(|pid| !runs(pid))).await;
    assert_eq!(node.sessions(), 0);
}

#[tokio::test]
async fn shutting_down_ends_children_that_ignore_being_told_and_what_they_started() {
    let (client, node) = node(|options| {
        // A signal that is ignored stays so across exec.
        options.child.program = "sh".into();
        options.child.arguments = ["-c", "trap '' TERM; \"$0\"; :", NODE].map(Into::into).into();
        options.child.grace = Duration::from_millis(100);
    });
    let session = client.open().await;
    let pid = client.tool(&session, "pid", json!({})).await;
    let grandchild = client.tool(&session, "grandchild", json!({})).await;
    timeout(DEADLINE, node.shutdown()).await.unwrap();
    assert_eq!((node.links(), node.sessions()), (0, 0));
    until("all processes are gone", || !runs(&pid) && !runs(&grandchild)).await;
    assert_eq!(reason(client.post(None, INITIALIZE).await), Reason::Draining);
}

#[test]
fn no_child_outlives_a_host_that_is_killed() {
    let mut host = Command::new(HOST).arg(NODE).stdout(Pipe::piped()).spawn().unwrap();
    let mut pid = String::new();
    BufReader::new(host.stdout.take().unwrap()).read_line(&mut pid).unwrap();
    let pid = pid.trim();
    assert!(runs(pid));
    host.kill().unwrap();
    host.wait().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(until("the child is gone", || !runs(pid)));
}

#[test]
fn no_child_outlives_its_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, _node) = node(|_| ());
    let pid = runtime.block_on(async {
        let session = client.open().await;
        client.tool(&session, "pid", json!({})).await
    });
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(until("the child is gone", || !runs(&pid)));
}

#[tokio::test]
async fn the_launcher_limits_memory() {
    let (client, _node) = node(|options| {
        options.child.launcher = Some(HOST.into());
        options.child.memory = Some(64 << 20);
    });
    let session = client.open().await;
    assert_eq!(client.tool(&session, "memory", json!({"n": 1 << 20})).await, (1 << 20).to_string());
    let greedy = client.call(&session, &json!(2), "memory", json!({"n": 128 << 20})).await;
    assert!(matches!(greedy, Err(UpstreamError::Replaced(_))), "{greedy:?}");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_unavailable() {
    for launcher in [None, Some(HOST.into())] {
        let (client, node) = node(|options| {
            options.child.program = "/no/such/program".into();
            options.child.launcher = launcher;
        });
        let reply = client.post(None, INITIALIZE).await;
        assert!(matches!(reply, Err(UpstreamError::Unavailable(_))), "{reply:?}");
        assert_eq!(node.alive(), Health::Failing);
        until("its place is free", || node.links() == 0).await;
    }
}

#[tokio::test]
async fn a_node_that_does_not_start_in_time_is_ended() {
    let (client, node) = node(|options| {
        options.child.program = "sleep".into();
        options.child.arguments = vec!["1000".into()];
        options.sessions.start_timeout = Duration::from_millis(50);
    });
    let reply = client.post(None, INITIALIZE).await;
    assert!(matches!(reply, Err(UpstreamError::TimedOut(_))), "{reply:?}");
    until("the child is gone", || node.links() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_initialize_leaves_no_child() {
    let (client, node) = node(|options| {
        options.child.program = "sleep".into();
        options.child.arguments = vec!["1000".into()];
    });
    let opening = tokio::spawn({
        let client = client.clone();
        async move { client.post(None, INITIALIZE).await.map(|_| ()) }
    });
    until("a child was started", || node.links() == 1).await;
    opening.abort();
    until("the child is gone", || node.links() == 0).await;
}

#[tokio::test]
async fn lines_that_are_no_messages_are_skipped() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    assert_eq!(client.tool(&session, "junk", json!({})).await, "done");
    assert_eq!(client.tool(&session, "stderr", json!({"n": 500})).await, "done");
}

#[tokio::test]
async fn a_line_that_is_too_long_ends_the_child() {
    let (client, node) = node(|options| options.sessions.fails_over = false);
    let session = client.open().await;
    let reply = client.call(&session, &json!(1), "long_line", json!({})).await;
    assert!(matches!(reply, Err(UpstreamError::Failed(_))), "{reply:?}");
    until("the child is gone", || node.links() == 0).await;
}

#[tokio::test]
async fn a_probe_finds_out_whether_the_program_serves_and_leaves_no_child() {
    let erlmcp = |options: &mut Options| options.child.arguments = vec!["--erlmcp".into()];
    let (_, node) = node(|_| ());
    assert_eq!(node.probe().await, Health::Alive);
    until("the child is gone", || node.links() == 0).await;
    // This one answers ping with -32601.
    let (_, node) = crate::node(erlmcp);
    assert_eq!(node.probe().await, Health::Failing);
    let (_, node) = crate::node(|options| {
        erlmcp(options);
        options.sessions.profile = Profile::Erlmcp;
    });
    assert_eq!(node.probe().await, Health::Alive);
    let (_, node) = crate::node(|options| options.child.program = "false".into());
    assert_eq!(node.probe().await, Health::Failing);
    until("the child is gone", || node.links() == 0).await;
}

/// A node that starts only as long as nothing lies at `flag`.
fn breakable(flag: &std::path::Path) -> impl FnOnce(&mut Options) + use<> {
    let script = format!("test ! -e {} && exec {NODE}", flag.display());
    move |options| {
        options.child.program = "sh".into();
        options.child.arguments = ["-c".into(), script.into()].into();
    }
}

#[tokio::test]
async fn a_node_that_nobody_has_heard_of_for_long_is_probed_again() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("broken");
    for (speaks_for, expected) in [(Duration::from_secs(3600), Health::Alive), (Duration::ZERO, Health::Failing)] {
        let _ = std::fs::remove_file(&flag);
        let (client, node) = node(|options| {
            breakable(&flag)(options);
            options.sessions.speaks_for = speaks_for;
        });
        client.open().await;
        std::fs::write(&flag, "").unwrap();
        assert_eq!(node.probe().await, expected);
    }
}

#[tokio::test]
async fn an_answer_shows_that_the_node_is_well() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("broken");
    let (client, node) = node(breakable(&flag));
    let session = client.open().await;
    std::fs::write(&flag, "").unwrap();
    // Another session fails, but that one lives.
    assert!(client.post(None, INITIALIZE).await.is_err());
    assert_eq!(node.alive(), Health::Failing);
    client.tool(&session, "pid", json!({})).await;
    assert_eq!(node.alive(), Health::Alive);
}

#[tokio::test]
async fn the_ping_of_a_probe_has_a_limit_of_its_own() {
    // Answers `initialize`, and no more.
    let answer = r#"{"jsonrpc":"2.0","id":0,"result":{}}"#;
    let (_, node) = node(|options| {
        options.child.program = "sh".into();
        options.child.arguments =
            ["-c".into(), format!("read line; echo '{answer}'; exec cat >/dev/null").into()].into();
        options.sessions.ping_timeout = Duration::from_millis(50);
    });
    assert_eq!(timeout(Duration::from_secs(9), node.probe()).await.unwrap(), Health::Failing);
}

#[tokio::test]
async fn a_probe_that_is_never_answered_does_not_hold_up_the_end() {
    // It reads, and says nothing but what it was told, which answers no request.
    let node = stdio::node(StdioOptions::new("cat"), SessionOptions::default());
    let probe = tokio::spawn({
        let node = node.clone();
        async move { node.probe().await }
    });
    until("its child runs", || node.links() == 1).await;
    timeout(DEADLINE, node.shutdown()).await.unwrap();
    assert_eq!(timeout(DEADLINE, probe).await.unwrap().unwrap(), Health::Unknown);
    assert_eq!(node.links(), 0);
}
