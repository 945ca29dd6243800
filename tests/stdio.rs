//! The stdio upstream with real child processes.

use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::process::{Command, Stdio as Pipe};
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt;
use mcp_guard::call::Kind;
use mcp_guard::middleware::{McpService, Node, UpstreamError};
use mcp_guard::refusal::Reason;
use mcp_guard::revision::Revision;
use mcp_guard::session::Profile;
use mcp_guard_sidecar::upstream::stdio::{Health, Stdio, StdioOptions};
use mcp_guard_tests::stdio::{Client, INITIALIZE, Reply, bytes, call, is_stream, messages, next};
use serde_json::{Value, json};
use tokio::time::{interval, timeout};
use tower::ServiceExt;

const NODE: &str = env!("CARGO_BIN_EXE_stdio-node");
const HOST: &str = env!("CARGO_BIN_EXE_stdio-host");
const DEADLINE: Duration = Duration::from_secs(20);

fn options() -> StdioOptions {
    StdioOptions::new(NODE)
}

fn node(change: impl FnOnce(&mut StdioOptions)) -> (Client, Stdio) {
    let mut options = options();
    change(&mut options);
    let node = Stdio::new(options);
    (Client::new(node.clone()), node)
}

fn reason(reply: Reply) -> Reason {
    match reply {
        Err(UpstreamError::Refused(refusal)) => refusal.reason(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        let mut tick = interval(Duration::from_millis(5));
        while !condition() {
            tick.tick().await;
        }
    };
    timeout(DEADLINE, holds).await.unwrap_or_else(|_| panic!("not so in time: {what}"));
}

/// Whether a process runs: one that nobody reaped yet does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some(None | Some('Z' | 'X')))
}

#[tokio::test]
async fn a_session_is_opened_used_and_ended() {
    let (client, node) = node(|_| ());
    assert_eq!(node.alive(), Health::Unknown);
    let session = client.open().await;
    assert!(session.len() == 32 && session.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b)));
    let initialized = client.post(Some(&session), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
    assert_eq!(initialized.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(client.tool(&session, "echo", json!({"text": "hello"})).await, "hello");
    assert_eq!((node.sessions(), node.alive()), (1, Health::Alive));
    let pid = client.tool(&session, "pid", json!({})).await;
    assert_eq!(client.without_body(Kind::End, &session).await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(reason(client.call(&session, &json!(2), "echo", json!({})).await), Reason::SessionNotFound);
    until("the child is gone", || !runs(&pid) && node.children() == 0).await;
}

#[tokio::test]
async fn messages_reach_the_node_byte_for_byte_and_pretty_ones_as_one_line() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    for (body, line) in [
        (
            "{\"jsonrpc\":\"2.0\", \"id\":1e0,\"method\":\"tools/call\",\"params\":{\"name\":\"raw\",\"x\":\"\\u0061\\n\"}}",
            "{\"jsonrpc\":\"2.0\", \"id\":1e0,\"method\":\"tools/call\",\"params\":{\"name\":\"raw\",\"x\":\"\\u0061\\n\"}}",
        ),
        (
            "{\r\n\"jsonrpc\": \"2.0\",\n\"id\": 2,\n\"method\": \"tools/call\",\n\"params\": {\"name\": \"raw\"}\n}\n",
            "{  \"jsonrpc\": \"2.0\", \"id\": 2, \"method\": \"tools/call\", \"params\": {\"name\": \"raw\"} } ",
        ),
    ] {
        let mut call = call(Some(&session), body);
        call.id = Some(if body.contains("1e0") { "1.0" } else { "2" }.into());
        let response = client.send(call, body, "*/*").await.unwrap();
        assert_eq!(messages(response).await[0]["result"]["content"][0]["text"], line);
    }
}

#[tokio::test]
async fn a_message_without_its_session_is_refused() {
    let (client, _node) = node(|_| ());
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(reason(client.post(None, ping).await), Reason::InvalidRequest);
    assert_eq!(reason(client.post(Some(&"A".repeat(32)), ping).await), Reason::SessionNotFound);
    assert_eq!(reason(client.post(Some("no id of ours"), ping).await), Reason::SessionNotFound);
    assert_eq!(reason(client.without_body(Kind::Listen, "x").await), Reason::SessionNotFound);
    let session = client.open().await;
    assert_eq!(reason(client.post(Some(&session), INITIALIZE).await), Reason::InvalidRequest);
}

#[tokio::test]
async fn a_stateless_message_is_told_which_revisions_there_are() {
    let (client, _node) = node(|_| ());
    let mut call = call(None, r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    call.revision = Revision::V2026_07_28;
    assert_eq!(reason(client.send(call, "{}", "*/*").await), Reason::UnsupportedVersion);
}

#[tokio::test]
async fn a_crash_fails_the_calls_in_flight_and_the_next_session_works() {
    let (client, node) = node(|_| ());
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
    until("only the second child is left", || node.children() == 1 && node.sessions() == 1).await;
}

#[tokio::test]
async fn behind_the_guard_a_killed_node_is_a_502_and_an_unknown_session_a_404() {
    let (client, node) = node(|_| ());
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
    until("all children are gone", || node.children() == 0 && pids.iter().all(|pid| !runs(pid))).await;
    assert_eq!(node.sessions(), 0);
}

#[tokio::test]
async fn shutting_down_ends_children_that_ignore_being_told_and_what_they_started() {
    let (client, node) = node(|options| {
        // A signal that is ignored stays so across exec.
        options.program = "sh".into();
        options.arguments = ["-c", "trap '' TERM; \"$0\"; :", NODE].map(Into::into).into();
        options.grace = Duration::from_millis(100);
    });
    let session = client.open().await;
    let pid = client.tool(&session, "pid", json!({})).await;
    let grandchild = client.tool(&session, "grandchild", json!({})).await;
    timeout(DEADLINE, node.shutdown()).await.unwrap();
    assert_eq!((node.children(), node.sessions()), (0, 0));
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

#[test]
fn a_session_is_served_on_other_runtimes_than_the_one_that_opened_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, _node) = node(|_| ());
    let (opened, session) = std::sync::mpsc::channel();
    let (done, until_done) = tokio::sync::oneshot::channel::<()>();
    let opener = {
        let client = client.clone();
        std::thread::spawn(move || {
            runtime().block_on(async {
                opened.send(client.open().await).unwrap();
                let _ = until_done.await;
            });
        })
    };
    let session = session.recv().unwrap();
    let text = runtime().block_on(client.tool(&session, "echo", json!({"text": "from afar"})));
    assert_eq!(text, "from afar");
    drop(done);
    opener.join().unwrap();
}

#[tokio::test]
async fn the_launcher_limits_memory() {
    let (client, _node) = node(|options| {
        options.launcher = Some(HOST.into());
        options.memory = Some(64 << 20);
    });
    let session = client.open().await;
    assert_eq!(client.tool(&session, "memory", json!({"n": 1 << 20})).await, (1 << 20).to_string());
    let greedy = client.call(&session, &json!(2), "memory", json!({"n": 128 << 20})).await;
    assert!(matches!(greedy, Err(UpstreamError::Failed(_))), "{greedy:?}");
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_unavailable() {
    for launcher in [None, Some(HOST.into())] {
        let (client, node) = node(|options| {
            options.program = "/no/such/program".into();
            options.launcher = launcher;
        });
        let reply = client.post(None, INITIALIZE).await;
        assert!(matches!(reply, Err(UpstreamError::Unavailable(_))), "{reply:?}");
        assert_eq!(node.alive(), Health::Failing);
        until("its place is free", || node.children() == 0).await;
    }
}

#[tokio::test]
async fn a_node_that_does_not_start_in_time_is_ended() {
    let (client, node) = node(|options| {
        options.program = "sleep".into();
        options.arguments = vec!["1000".into()];
        options.start_timeout = Duration::from_millis(50);
    });
    let reply = client.post(None, INITIALIZE).await;
    assert!(matches!(reply, Err(UpstreamError::TimedOut(_))), "{reply:?}");
    until("the child is gone", || node.children() == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_initialize_leaves_no_child() {
    let (client, node) = node(|options| {
        options.program = "sleep".into();
        options.arguments = vec!["1000".into()];
    });
    let opening = tokio::spawn({
        let client = client.clone();
        async move { client.post(None, INITIALIZE).await.map(|_| ()) }
    });
    until("a child was started", || node.children() == 1).await;
    opening.abort();
    until("the child is gone", || node.children() == 0).await;
}

#[tokio::test]
async fn a_refused_initialize_opens_nothing() {
    let (client, node) = node(|options| {
        options.program = "sh".into();
        let answer = r#"read x; echo '{"jsonrpc":"2.0","id":0,"error":{"code":-32061,"message":"version"}}'; read x"#;
        options.arguments = vec!["-c".into(), answer.into()];
    });
    let response = client.post(None, INITIALIZE).await.unwrap();
    assert!(!response.headers().contains_key("mcp-session-id"));
    assert_eq!(messages(response).await[0]["error"]["code"], -32061);
    until("the child is gone", || node.children() == 0).await;
}

#[tokio::test]
async fn there_are_no_more_children_than_may_be() {
    let (client, node) = node(|options| options.children_max = NonZeroUsize::new(2).unwrap());
    let session = client.open().await;
    client.open().await;
    match client.post(None, INITIALIZE).await {
        Err(UpstreamError::Refused(refusal)) => {
            assert_eq!(refusal.reason(), Reason::TooManySessions);
            assert!(refusal.retry_after_seconds().is_some());
        }
        other => panic!("{other:?}"),
    }
    client.without_body(Kind::End, &session).await.unwrap();
    until("a place is free", || node.children() == 1).await;
    client.open().await;
}

#[tokio::test]
async fn a_silent_session_is_ended_and_a_busy_one_is_not() {
    let (client, node) = node(|options| options.session_idle = Duration::from_millis(200));
    let silent = client.open().await;
    let listening = client.open().await;
    let mut stream = client.without_body(Kind::Listen, &listening).await.unwrap().into_body();
    until("one session is left", || node.sessions() == 1 && node.children() == 1).await;
    assert_eq!(reason(client.call(&silent, &json!(1), "echo", json!({})).await), Reason::SessionNotFound);
    assert_eq!(client.tool(&listening, "echo", json!({"text": "here"})).await, "here");
    assert!(timeout(Duration::ZERO, next(&mut stream)).await.is_err(), "the stream is open");
    drop(stream);
    until("none is left", || node.sessions() == 0 && node.children() == 0).await;
}

#[tokio::test]
async fn progress_makes_the_answer_a_stream_that_ends_with_the_result() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    let response = client.call(&session, &json!("p"), "progress", json!({"n": 3})).await.unwrap();
    assert!(is_stream(&response));
    let messages = messages(response).await;
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[2]["params"]["progress"], 2);
    assert_eq!(messages[3]["id"], "p");
}

#[tokio::test]
async fn a_client_that_takes_no_stream_gets_json() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"spam","arguments":{"n":3}}}"#;
    let response = client.send(call(Some(&session), body), body, "application/json").await.unwrap();
    assert!(!is_stream(&response));
    assert_eq!(messages(response).await[0]["id"], 1);
}

#[tokio::test]
async fn what_the_node_says_of_its_own_accord_goes_to_the_open_stream() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    let mut stream = client.without_body(Kind::Listen, &session).await.unwrap().into_body();
    let response = client.call(&session, &json!(1), "spam", json!({"n": 2})).await.unwrap();
    assert!(!is_stream(&response));
    for step in 0..2 {
        assert_eq!(next(&mut stream).await.unwrap()["params"]["data"], step);
    }
    client.without_body(Kind::End, &session).await.unwrap();
    assert_eq!(next(&mut stream).await, None);
}

#[tokio::test]
async fn a_question_of_the_node_is_asked_and_its_answer_passed_on_once() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    let response = client.call(&session, &json!(1), "ask", json!({})).await.unwrap();
    assert!(is_stream(&response));
    let mut stream = response.into_body();
    assert_eq!(next(&mut stream).await.unwrap()["method"], "roots/list");
    let answer = r#"{"jsonrpc":"2.0","id":"asked","result":{"roots":[]}}"#;
    assert_eq!(client.post(Some(&session), answer).await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(next(&mut stream).await.unwrap()["result"]["content"][0]["text"], r#"{"roots":[]}"#);
    assert_eq!(next(&mut stream).await, None);
    assert_eq!(reason(client.post(Some(&session), answer).await), Reason::InvalidRequest);
    assert_eq!(client.tool(&session, "echo", json!({"text": "alive"})).await, "alive");
}

#[tokio::test]
async fn a_question_that_a_leaving_client_did_not_read_is_asked_again_elsewhere() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    drop(client.call(&session, &json!(1), "ask", json!({})).await.unwrap());
    let mut stream = client.without_body(Kind::Listen, &session).await.unwrap().into_body();
    assert_eq!(next(&mut stream).await.unwrap()["method"], "roots/list");
}

#[tokio::test]
async fn a_response_that_nobody_asked_for_is_refused_and_the_node_lives() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    for response in [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"{"jsonrpc":"2.0","id":"asked","error":{}}"#] {
        assert_eq!(reason(client.post(Some(&session), response).await), Reason::InvalidRequest);
    }
    assert_eq!(client.tool(&session, "echo", json!({"text": "alive"})).await, "alive");
}

#[tokio::test]
async fn an_id_in_flight_is_refused_also_when_its_client_gave_up() {
    let (client, _node) = node(|options| options.first_byte = Duration::from_millis(100));
    let session = client.open().await;
    let reply = client.call(&session, &json!(7), "silent", json!({})).await;
    assert!(matches!(reply, Err(UpstreamError::TimedOut(_))), "{reply:?}");
    assert_eq!(reason(client.call(&session, &json!(7), "echo", json!({})).await), Reason::InvalidRequest);
    let other = client.call(&session, &json!("7"), "echo", json!({"text": "a string is another id"})).await;
    assert!(other.is_ok());
}

#[tokio::test]
async fn the_answer_to_a_client_that_left_is_dropped_and_its_id_is_free_again() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    let leaving = tokio::spawn({
        let (client, session) = (client.clone(), session.clone());
        async move { client.call(&session, &json!(5), "sleep", json!({"n": 300})).await.map(|_| ()) }
    });
    // Its id is taken once it was sent.
    let other = json!({"jsonrpc": "2.0", "id": 5, "method": "ping"}).to_string();
    let mut tick = interval(Duration::from_millis(5));
    while client.post(Some(&session), &other).await.is_ok() {
        tick.tick().await;
    }
    leaving.abort();
    let answered = async {
        while client.post(Some(&session), &other).await.is_err() {
            tick.tick().await;
        }
    };
    timeout(DEADLINE, answered).await.unwrap();
}

#[tokio::test]
async fn a_cancelled_call_ends_with_nothing_said() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    let waiting = tokio::spawn({
        let (client, session) = (client.clone(), session.clone());
        async move { client.call(&session, &json!(5), "silent", json!({})).await }
    });
    assert_eq!(client.tool(&session, "echo", json!({"text": "x"})).await, "x");
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#;
    assert_eq!(client.post(Some(&session), cancel).await.unwrap().status(), StatusCode::ACCEPTED);
    let response = timeout(DEADLINE, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert!(bytes(response).await.is_empty());
}

#[tokio::test]
async fn lines_that_are_no_messages_are_skipped() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    assert_eq!(client.tool(&session, "junk", json!({})).await, "done");
    assert_eq!(client.tool(&session, "stderr", json!({"n": 500})).await, "done");
}

#[tokio::test]
async fn a_line_that_is_too_long_ends_the_session() {
    let (client, node) = node(|_| ());
    let session = client.open().await;
    let reply = client.call(&session, &json!(1), "long_line", json!({})).await;
    assert!(matches!(reply, Err(UpstreamError::Failed(_))), "{reply:?}");
    until("the child is gone", || node.children() == 0).await;
}

#[tokio::test]
async fn a_node_that_does_not_read_makes_calls_give_up_and_nothing_grow() {
    let (client, _node) = node(|options| options.first_byte = Duration::from_millis(200));
    let session = client.open().await;
    let large = "x".repeat(1 << 20);
    let mut calls = tokio::task::JoinSet::new();
    for id in 0..40 {
        let (client, session, large) = (client.clone(), session.clone(), large.clone());
        let tool = if id == 0 { "deaf" } else { "echo" };
        calls.spawn(async move { client.call(&session, &json!(id), tool, json!({"text": large})).await.map(|_| ()) });
    }
    let replies = calls.join_all().await;
    let unsent = replies.iter().filter(|reply| matches!(reply, Err(UpstreamError::Unavailable(_)))).count();
    let sent = replies.iter().filter(|reply| matches!(reply, Err(UpstreamError::TimedOut(_)))).count();
    assert!(unsent >= 30 && unsent + sent == 40, "{unsent} not sent, {sent} sent");
}

mod erlmcp {
    use super::*;

    async fn erlmcp() -> (Client, String) {
        let (client, _) = node(|options| {
            options.arguments = vec!["--erlmcp".into()];
            options.profile = Profile::Erlmcp;
        });
        let session = client.open().await;
        (client, session)
    }

    /// Every row of "what kills or hangs it" that stdio can show: refused, and the same node still serves.
    #[tokio::test]
    async fn what_would_kill_or_hang_the_node_is_refused_and_it_lives() {
        let (client, session) = erlmcp().await;
        let pid = client.tool(&session, "pid", json!({})).await;
        for (body, expected) in [
            ("{bad", Reason::ParseError),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Reason::InvalidRequest),
            (r#"{"id":1,"method":"ping"}"#, Reason::InvalidRequest),
            (r#"{"jsonrpc":"2.0","id":1,"method":{}}"#, Reason::InvalidRequest),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, Reason::InvalidParams),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#, Reason::InvalidParams),
            (r#"{"jsonrpc":"2.0","id":1,"method":"resources/read"}"#, Reason::InvalidParams),
            (r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get"}"#, Reason::InvalidParams),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":[]}}"#,
                Reason::InvalidParams,
            ),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, Reason::InvalidRequest),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, Reason::InvalidRequest),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Reason::InvalidRequest),
            (r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#, Reason::InvalidRequest),
        ] {
            assert_eq!(reason(client.post(Some(&session), body).await), expected, "{body}");
            assert_eq!(client.tool(&session, "pid", json!({})).await, pid, "after {body}");
        }
    }

    #[tokio::test]
    async fn an_initialize_without_params_reaches_no_node() {
        let (client, _) = erlmcp().await;
        let bare = r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
        assert_eq!(reason(client.post(None, bare).await), Reason::InvalidParams);
    }

    #[tokio::test]
    async fn lists_without_params_are_served() {
        let (client, session) = erlmcp().await;
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let answers = messages(client.post(Some(&session), list).await.unwrap()).await;
        assert_eq!(answers.last().unwrap()["result"]["tools"][0]["name"], "echo");
    }

    #[tokio::test]
    async fn its_notifications_are_named_right_and_its_initialized_is_not_passed_on() {
        let (client, session) = erlmcp().await;
        let mut stream = client.without_body(Kind::Listen, &session).await.unwrap().into_body();
        assert_eq!(next(&mut stream).await.unwrap()["method"], "notifications/tools/list_changed");
    }

    /// Shows that the node of these tests is as weak as it says, so that the tests above can fail.
    #[tokio::test]
    async fn without_the_profile_the_node_dies() {
        let (client, _) = node(|options| options.arguments = vec!["--erlmcp".into()]);
        let session = client.open().await;
        let reply = client.post(Some(&session), r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
        assert!(!matches!(reply, Ok(ref response) if !is_stream(response)), "{reply:?}");
    }
}
