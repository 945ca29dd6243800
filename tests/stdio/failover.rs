//! Sessions whose child is gone.

use mcp_guard::call::Kind;
use mcp_guard::middleware::UpstreamError;
use mcp_guard::refusal::Reason;
use mcp_guard_tests::stdio::next;
use serde_json::json;
use tokio::time::timeout;

use crate::{DEADLINE, node, reason, until};

#[tokio::test]
async fn a_session_goes_on_with_another_child() {
    let (client, node) = node(|_| ());
    let session = client.open().await;
    let before = client.tool(&session, "pid", json!({})).await;
    let waiting = {
        let (client, session) = (client.clone(), session.clone());
        tokio::spawn(async move { client.call(&session, &json!("w"), "silent", json!({})).await.map(|_| ()) })
    };
    // The answer shows that the node has read what came before it.
    assert_eq!(client.tool(&session, "echo", json!({"text": "x"})).await, "x");
    for crashed in [client.call(&session, &json!(2), "crash", json!({})).await.map(|_| ()), waiting.await.unwrap()] {
        assert!(matches!(crashed, Err(UpstreamError::Replaced(_))), "{crashed:?}");
    }
    assert_ne!(client.tool(&session, "pid", json!({})).await, before);
    assert_eq!((node.sessions(), node.links()), (1, 1));
    client.without_body(Kind::End, &session).await.unwrap();
    until("no child is left", || node.links() == 0).await;
}

#[tokio::test]
async fn the_next_child_is_told_what_the_client_had_said() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    let said = [
        ("logging/setLevel", json!({"level": "info"})),
        ("resources/subscribe", json!({"uri": "a://1"})),
        ("resources/subscribe", json!({"uri": "a://2"})),
        ("resources/unsubscribe", json!({"uri": "a://1"})),
        ("logging/setLevel", json!({"level": "debug"})),
        ("ping", json!({})),
    ];
    for (method, params) in said {
        let body = json!({"jsonrpc": "2.0", "id": 5, "method": method, "params": params});
        client.post(Some(&session), &body.to_string()).await.unwrap();
    }
    let _ = client.call(&session, &json!(2), "crash", json!({})).await;
    let told = client.tool(&session, "told", json!({})).await;
    let (initialize, rest) = told.split_once('\n').unwrap();
    assert!(
        initialize.starts_with("initialize ") && initialize.contains(r#""clientInfo":{"name":"test","version":"1"}"#)
    );
    let expected = [
        "notifications/initialized {}",
        r#"logging/setLevel {"level":"debug"}"#,
        r#"resources/subscribe {"uri":"a://2"}"#,
    ];
    assert_eq!(rest.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_stream_goes_on_with_what_the_next_child_says() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    let mut stream = client.without_body(Kind::Listen, &session).await.unwrap().into_body();
    let _ = client.call(&session, &json!(2), "crash", json!({})).await;
    assert_eq!(client.tool(&session, "spam", json!({"n": 1})).await, "done");
    let said = timeout(DEADLINE, next(&mut stream)).await.unwrap().unwrap();
    assert_eq!(said["method"], "notifications/message");
}

#[tokio::test]
async fn a_session_that_does_nothing_but_crash_ends() {
    let (client, node) = node(|_| ());
    let session = client.open().await;
    for crash in 1..=6 {
        let crashed = client.call(&session, &json!(crash), "crash", json!({})).await;
        let is_last = crash == 6;
        assert_eq!(matches!(crashed, Err(UpstreamError::Failed(_))), is_last, "{crash}: {crashed:?}");
    }
    assert_eq!(reason(client.call(&session, &json!(7), "echo", json!({})).await), Reason::SessionNotFound);
    until("no child is left", || node.links() == 0).await;
}

#[tokio::test]
async fn a_session_that_works_in_between_may_crash_for_ever() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    for _ in 0..10 {
        let _ = client.call(&session, &json!(1), "crash", json!({})).await;
        assert_eq!(client.tool(&session, "echo", json!({"text": "x"})).await, "x");
    }
}
