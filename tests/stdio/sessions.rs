//! How sessions begin, are told apart, and end.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::StatusCode;
use mcp_guard::call::Kind;
use mcp_guard::middleware::UpstreamError;
use mcp_guard::refusal::Reason;
use mcp_guard::revision::Revision;
use mcp_guard_sidecar::upstream::sessions::Health;
use mcp_guard_tests::stdio::{INITIALIZE, call, messages, next};
use serde_json::json;
use tokio::time::timeout;

use crate::{node, reason, runs, until};

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
    until("the child is gone", || !runs(&pid) && node.links() == 0).await;
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

/// rmcp 3.9 falls back to `initialize` on an unknown method, and on nothing that looks like 2026-07-28.
#[tokio::test]
async fn a_client_that_asks_for_the_stateless_revision_is_answered_as_by_an_older_server() {
    let (client, _node) = node(|_| ());
    let mut call = call(None, r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#);
    call.revision = Revision::V2026_07_28;
    assert_eq!(reason(client.send(call, "{}", "*/*").await), Reason::MethodNotFound);
}

#[tokio::test]
async fn there_are_no_more_children_than_may_be() {
    let (client, node) = node(|options| options.sessions.sessions_max = NonZeroUsize::new(2).unwrap());
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
    until("a place is free", || node.links() == 1).await;
    client.open().await;
}

#[tokio::test]
async fn a_silent_session_is_ended_and_a_busy_one_is_not() {
    let (client, node) = node(|options| options.sessions.session_idle = Duration::from_millis(200));
    let silent = client.open().await;
    let listening = client.open().await;
    let mut stream = client.without_body(Kind::Listen, &listening).await.unwrap().into_body();
    until("one session is left", || node.sessions() == 1 && node.links() == 1).await;
    assert_eq!(reason(client.call(&silent, &json!(1), "echo", json!({})).await), Reason::SessionNotFound);
    assert_eq!(client.tool(&listening, "echo", json!({"text": "here"})).await, "here");
    assert!(timeout(Duration::ZERO, next(&mut stream)).await.is_err(), "the stream is open");
    drop(stream);
    until("none is left", || node.sessions() == 0 && node.links() == 0).await;
}

#[tokio::test]
async fn a_refused_initialize_opens_nothing() {
    let (client, node) = node(|options| {
        options.child.program = "sh".into();
        let answer = r#"read x; echo '{"jsonrpc":"2.0","id":0,"error":{"code":-32061,"message":"version"}}'; read x"#;
        options.child.arguments = vec!["-c".into(), answer.into()];
    });
    let response = client.post(None, INITIALIZE).await.unwrap();
    assert!(!response.headers().contains_key("mcp-session-id"));
    assert_eq!(messages(response).await[0]["error"]["code"], -32061);
    until("the child is gone", || node.links() == 0).await;
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
