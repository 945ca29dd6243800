//! What the node refuses, and what clients leave behind.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_node_that_opens_no_session_says_so_in_answer_to_the_call() {
    let fake = Fake::default();
    let client = Client::new(&fake.node(), "alice");
    for (status, code) in [(200, -32602), (400, -32000), (403, -32001)] {
        fake.0.lock().unwrap().refuses = Some((status, json!({"code": code, "message": "no"})));
        let told = client.call().await.unwrap();
        assert_eq!((&told[0]["id"], &told[0]["error"]["code"]), (&json!(7), &json!(code)));
    }
    assert_eq!(fake.seen("initialize").len(), 3, "none is asked twice");
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_client_leaves_while_it_is_opened_ends() {
    let fake = Fake::default();
    fake.0.lock().unwrap().opens_in = Duration::from_secs(3);
    let call = Client::new(&fake.node(), "alice").begin();
    settle().await;
    call.abort();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((fake.ended(), fake.sessions().len()), (vec!["s1".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_opens_a_session_is_not_waited_for_without_end() {
    let fake = Fake::default();
    fake.0.lock().unwrap().opens_in = Duration::from_secs(86_400);
    let told = tokio::time::timeout(Duration::from_secs(600), Client::new(&fake.node(), "alice").call()).await;
    assert!(matches!(told, Ok(Err(UpstreamError::Unsent { .. }))), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn one_client_cannot_have_all_calls_wait_for_it() {
    let fake = Fake::default();
    let node = fake.node();
    let ask = async |credentials| {
        let call = Client::new(&node, credentials).begin();
        settle().await;
        let number = fake.sessions().len() - 1;
        fake.say(number, &json!({"jsonrpc": "2.0", "id": 1, "method": "roots/list"}));
        call.await.unwrap()
    };
    for _ in 0..16 {
        ask("alice").await.unwrap();
    }
    // 64 places, of which a quarter may be taken by calls that wait.
    assert_eq!(refused(ask("alice").await), Some(Reason::QueueFull));
    assert_eq!(refused(ask("bob").await), Some(Reason::QueueFull));
}

#[tokio::test(start_paused = true)]
async fn an_introduction_that_cannot_be_meant_is_refused_unsent() {
    let fake = Fake::default();
    let client = Client::new(&fake.node(), "alice");
    let mut request = client.request("tools/call", json!({"name": "t"}));
    let text = String::from_utf8(request.body.to_vec()).unwrap().replace(r#"{"roots":{}}"#, "           5");
    request.body = text.into();
    assert!(
        matches!(client.node.serve(request).await, Err(UpstreamError::Refused(refusal)) if refusal.reason() == Reason::InvalidParams)
    );
    assert!(fake.0.lock().unwrap().seen.is_empty());
}
