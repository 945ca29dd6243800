//! Nodes that are as weak as erlmcp.

use mcp_guard::call::Kind;
use mcp_guard::refusal::Reason;
use mcp_guard::session::Profile;
use mcp_guard_tests::stdio::{Client, is_stream, messages, next};
use serde_json::json;

use crate::{node, reason};

async fn erlmcp() -> (Client, String) {
    let (client, _) = node(|options| {
        options.child.arguments = vec!["--erlmcp".into()];
        options.sessions.profile = Profile::Erlmcp;
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
    let (client, _) = node(|options| options.child.arguments = vec!["--erlmcp".into()]);
    let session = client.open().await;
    let reply = client.post(Some(&session), r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
    assert!(!matches!(reply, Ok(ref response) if !is_stream(response)), "{reply:?}");
}
