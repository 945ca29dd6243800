//! Which message goes where.

use std::time::Duration;

use http::StatusCode;
use mcp_guard::call::Kind;
use mcp_guard::middleware::{UpstreamError, clock};
use mcp_guard::refusal::Reason;
use mcp_guard_tests::stdio::{bytes, call, is_stream, messages, next};
use serde_json::json;
use tokio::time::{interval, timeout};

use crate::{DEADLINE, node, reason};

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
async fn what_the_node_says_while_the_guard_itself_asks_is_kept_for_the_client() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"spam","arguments":{"n":2}}}"#;
    let mut own = call(Some(&session), body);
    own.guards_own = true;
    let response = client.send(own, body, "application/json, text/event-stream").await.unwrap();
    assert!(!is_stream(&response));
    let mut stream = client.without_body(Kind::Listen, &session).await.unwrap().into_body();
    for step in 0..2 {
        assert_eq!(next(&mut stream).await.unwrap()["params"]["data"], step);
    }
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
    let (client, _node) = node(|options| options.sessions.first_byte = Duration::from_millis(100));
    let session = client.open().await;
    let reply = client.call(&session, &json!(7), "silent", json!({})).await;
    assert!(matches!(reply, Err(UpstreamError::TimedOut(_))), "{reply:?}");
    assert_eq!(reason(client.call(&session, &json!(7), "echo", json!({})).await), Reason::InvalidRequest);
    let other = client.call(&session, &json!("7"), "echo", json!({"text": "a string is another id"})).await;
    assert!(other.is_ok());
}

#[tokio::test]
async fn a_deadline_takes_the_place_of_the_time_to_the_first_byte() {
    let (client, _node) = node(|options| options.sessions.first_byte = Duration::from_millis(1));
    let session = client.open().await;
    let tool = |id: u8, name: &str| {
        let params = json!({"name": name, "arguments": {"n": 50}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).to_string()
    };
    let patient = client.post_until(clock::now() + DEADLINE, &session, &tool(1, "sleep")).await;
    assert_eq!(patient.unwrap().status(), 200);
    let late = client.post_until(clock::now(), &session, &tool(2, "silent")).await;
    assert!(matches!(late, Err(UpstreamError::TimedOut(_))), "{late:?}");
}

#[tokio::test]
async fn the_answer_to_a_client_that_left_is_dropped_and_its_id_is_free_again() {
    let (client, _node) = node(|_| ());
    let session = client.open().await;
    let leaving = tokio::spawn({
        let (client, session) = (client.clone(), session.clone());
        async move { client.call(&session, &json!(5), "sleep", json!({"n": 300})).await.map(|_| ()) }
    });
    assert_eq!(client.tool(&session, "echo", json!({"text": "x"})).await, "x");
    leaving.abort();
    let other = json!({"jsonrpc": "2.0", "id": 5, "method": "ping"}).to_string();
    assert_eq!(reason(client.post(Some(&session), &other).await), Reason::InvalidRequest);
    let mut tick = interval(Duration::from_millis(5));
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
async fn a_node_that_does_not_read_makes_calls_give_up_and_nothing_grow() {
    let (client, _node) = node(|options| options.sessions.first_byte = Duration::from_millis(200));
    let session = client.open().await;
    let large = "x".repeat(256 << 10);
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
