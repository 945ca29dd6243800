//! Calls, questions, and what is told.

use super::super::super::caller::Caller;
use super::super::rounds::LASTS;
use super::super::session::IDLE;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_session_serves_one_call_at_a_time_and_only_its_client() {
    let fake = Fake::default();
    let node = fake.node();
    let (alice, bob) = (Client::new(&node, "alice"), Client::new(&node, "bob"));
    let calls = [alice.begin(), alice.begin()];
    settle().await;
    assert_eq!(fake.sessions(), ["s1", "s2"]);
    fake.finish(0);
    for (number, client, session) in [(2, &bob, "s3"), (3, &alice, "s1")] {
        settle().await;
        drop(client.begin());
        settle().await;
        assert_eq!(fake.sessions()[number], session);
        fake.finish(number);
    }
    fake.finish(1);
    for call in calls {
        let told = call.await.unwrap().unwrap();
        assert_eq!((told.len(), &told[0]["id"], &told[0]["result"]["resultType"]), (1, &json!(7), &json!("complete")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_the_node_has_forgotten_is_replaced_once() {
    let fake = Fake::default();
    let client = Client::new(&fake.node(), "alice");
    let call = client.begin();
    settle().await;
    fake.finish(0);
    call.await.unwrap().unwrap();
    fake.0.lock().unwrap().forgotten = vec!["s1".into(), "s2".into()];
    let told = client.call().await.unwrap();
    // A new one that is forgotten at once is the node's own affair.
    assert_eq!((fake.sessions(), told.len()), (vec!["s1".into(), "s1".into(), "s2".into()], 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_cancels_its_call_and_the_session_ends() {
    let fake = Fake::default();
    let call = Client::new(&fake.node(), "alice").begin();
    settle().await;
    call.abort();
    settle().await;
    let cancelled = fake.seen("notifications/cancelled");
    assert_eq!(cancelled[0].1["params"]["requestId"], fake.seen("tools/call")[0].1["id"]);
    assert_eq!((cancelled.len(), fake.ended()), (1, vec!["s1".into()]));
}

#[tokio::test(start_paused = true)]
async fn a_question_becomes_a_result_and_its_answer_goes_to_the_call_that_asked() {
    let fake = Fake::default();
    let node = fake.node();
    let (alice, bob) = (Client::new(&node, "alice"), Client::new(&node, "bob"));
    let call = alice.begin();
    settle().await;
    for id in [json!(0), json!("r")] {
        fake.say(
            0,
            &json!({"jsonrpc": "2.0", "id": id, "method": "roots/list", "params": {"_meta": {"progressToken": 1}}}),
        );
    }
    let told = call.await.unwrap().unwrap();
    let result = &told[0]["result"];
    assert_eq!(result["resultType"], "input_required");
    let question = json!({"method": "roots/list", "params": {}});
    assert_eq!(result["inputRequests"], json!({"0": question, "r": question}));

    let params =
        |state: &Value, responses: Value| json!({"name": "t", "requestState": state, "inputResponses": responses});
    let state = &result["requestState"];
    let roots = json!({"roots": []});
    // Nobody else goes on with it, and whoever answers half is asked for the rest.
    assert_eq!(refused(bob.ask("tools/call", params(state, json!({"0": roots}))).await), Some(Reason::InvalidParams));
    let rest = alice.ask("tools/call", params(state, json!({"0": roots, "x": roots}))).await.unwrap();
    assert_eq!(rest[0]["result"]["inputRequests"], json!({"r": question}));
    assert_eq!(refused(alice.ask("tools/call", params(state, json!({"r": roots}))).await), Some(Reason::InvalidParams));

    let last = params(&rest[0]["result"]["requestState"], json!({"r": roots}));
    let done = tokio::spawn(async move { alice.ask("tools/call", last).await });
    settle().await;
    fake.finish(0);
    assert_eq!(done.await.unwrap().unwrap()[0]["result"]["resultType"], "complete");
    let answers: Vec<Value> = fake.0.lock().unwrap().seen.iter().map(|(_, message)| message.clone()).collect();
    for id in [json!(0), json!("r")] {
        assert!(answers.contains(&json!({"jsonrpc": "2.0", "id": id, "result": roots})), "{answers:?}");
    }
    assert_eq!(fake.sessions(), ["s1"]);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_the_client_cannot_answer_is_answered_for_it() {
    let fake = Fake::default();
    let call = Client::new(&fake.node(), "alice").begin();
    settle().await;
    fake.say(0, &json!({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}}));
    fake.say(0, &json!({"jsonrpc": "2.0", "id": 2, "method": "ping"}));
    settle().await;
    fake.finish(0);
    assert_eq!(call.await.unwrap().unwrap().len(), 1);
    let state = fake.0.lock().unwrap();
    let answer = |id: i64| state.seen.iter().find(|(_, message)| message["id"] == id).unwrap().1.clone();
    assert_eq!((&answer(1)["error"]["code"], &answer(2)["result"]), (&json!(-32601), &json!({})));
}

#[tokio::test(start_paused = true)]
async fn log_messages_come_to_who_asks_for_them_and_progress_to_all() {
    let fake = Fake::default();
    let node = fake.node();
    for (number, level, messages) in [(0, None, 2), (1, Some("info"), 3), (2, Some("info"), 3)] {
        let client = Client { level, ..Client::new(&node, "alice") };
        let call = client.begin();
        settle().await;
        for method in ["notifications/message", "notifications/progress", "notifications/tools/list_changed"] {
            fake.say(number, &json!({"jsonrpc": "2.0", "method": method, "params": {}}));
        }
        fake.finish(number);
        assert_eq!(call.await.unwrap().unwrap().len(), messages);
    }
    assert_eq!(fake.seen("logging/setLevel").len(), 1, "the session knows it already");
}

#[tokio::test(start_paused = true)]
async fn what_waits_too_long_for_its_client_ends() {
    let fake = Fake::default();
    let node = fake.node();
    let client = Client::new(&node, "alice");
    let asked = client.begin();
    settle().await;
    fake.say(0, &json!({"jsonrpc": "2.0", "id": 1, "method": "roots/list"}));
    asked.await.unwrap().unwrap();
    let answered = client.begin();
    settle().await;
    fake.finish(1);
    answered.await.unwrap().unwrap();
    node.sweep(false).await;
    assert!(fake.ended().is_empty());
    tokio::time::sleep(IDLE).await;
    node.sweep(false).await;
    assert_eq!(fake.ended(), ["s2"]);
    tokio::time::sleep(LASTS).await;
    node.sweep(false).await;
    settle().await;
    assert_eq!((fake.ended(), fake.seen("notifications/cancelled").len()), (vec!["s2".into(), "s1".into()], 1));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_changed_in_a_call_is_told_to_the_same_client_where_it_listens() {
    let fake = Fake::default();
    let node = fake.node();
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    let mut told = Vec::new();
    for listener in ["alice", "bob"] {
        let (_, heard) =
            node.shared.listeners.join(Caller::of(&Client::new(&node, listener).request("x", json!({}))).identity());
        told.push(heard);
    }
    let call = Client::new(&node, "alice").begin();
    settle().await;
    fake.say(0, &changed);
    fake.finish(0);
    call.await.unwrap().unwrap();
    assert!(told[0].try_recv().is_ok() && told[1].try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_the_revision_does_not_have_is_refused_unsent() {
    let fake = Fake::default();
    let client = Client::new(&fake.node(), "alice");
    for method in ["initialize", "ping", "logging/setLevel", "resources/subscribe", "tasks/get"] {
        assert_eq!(refused(client.ask(method, json!({})).await), Some(Reason::MethodNotFound), "{method}");
    }
    let mut request = client.request("", json!({}));
    Arc::make_mut(&mut request.call).kind = Kind::Listen;
    assert!(matches!(client.node.serve(request).await, Err(UpstreamError::Refused(_))));
    assert!(fake.0.lock().unwrap().seen.is_empty());
}

#[tokio::test(start_paused = true)]
async fn discovery_says_what_initialize_was_answered() {
    let fake = Fake::default();
    let told = Client::new(&fake.node(), "alice").ask("server/discover", json!({})).await.unwrap();
    let result = &told[0]["result"];
    assert_eq!(result["capabilities"], json!({"logging": {}, "tools": {"listChanged": true}}));
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "n");
    assert!(result["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")));
    let initialize = &fake.seen("initialize")[0].1["params"];
    assert_eq!(
        (&initialize["capabilities"], &initialize["protocolVersion"]),
        (&json!({"roots": {}}), &json!("2025-11-25"))
    );
    assert_eq!(fake.seen("notifications/initialized")[0].0, "s1");
}
