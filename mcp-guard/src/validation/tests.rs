//! Validation as a handler in front of a fake node, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use metrics::set_default_local_recorder;
use serde_json::{Value, json};

use super::fake::Fake;
use super::{Mode, Validation, ValidationLayer, ValidationPolicy};
use crate::breaker::spy::Spy;
use crate::message::{self, Reading};
use crate::middleware::{Answer, Handler, McpRequest, Node, clock};
use crate::refusal::Reason;
use crate::revision::Revision;

type HttpAnswer = Answer<Full<Bytes>>;

fn guarded(policy: ValidationPolicy, node: &Fake) -> (ValidationLayer, Validation<Node<Fake>>) {
    let layer = ValidationLayer::new(policy);
    let handler = layer.wrap(Node::new(node.clone()));
    (layer, handler)
}

fn request_in(revision: Revision, text: &str) -> McpRequest {
    let reading = Reading { revision: Some(revision), depth_max: 64, batch_max: 1 };
    let Ok(message::Body::Single(call, _)) = message::read(text.as_bytes(), reading) else { panic!("{text}") };
    let head = Request::post("/mcp").body(()).unwrap().into_parts().0;
    McpRequest::new(Arc::new(head), Bytes::copy_from_slice(text.as_bytes()), Arc::new(call))
}

fn request(method: &str, params: &Value) -> McpRequest {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    request_in(Revision::V2025_11_25, &message.to_string())
}

fn add(arguments: &Value) -> McpRequest {
    request("tools/call", &json!({"name": "add", "arguments": arguments}))
}

async fn list<H: Handler<Body = Full<Bytes>>>(guard: &H) {
    text(guard.handle(request("tools/list", &json!({}))).await).await;
}

async fn text(answer: HttpAnswer) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn json_of(answer: &HttpAnswer) -> Value {
    serde_json::from_slice(answer.message().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_message_that_breaks_its_methods_schema_is_refused_with_place_and_rule() {
    let node = Fake::adder();
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    let refused = guard.handle(request("resources/read", &json!({"uri": 7}))).await;
    assert_eq!(refused.is_refusal(), Some(Reason::InvalidParams));
    let data = &json_of(&refused)["error"]["data"];
    assert_eq!((&data["pointer"], &data["rule"]), (&json!("/params/uri"), &json!("type")));
    let refused = guard.handle(request("server/discover", &json!({}))).await;
    assert_eq!(refused.is_refusal(), Some(Reason::MethodNotFound));
    assert!(node.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn arguments_that_break_the_schema_of_a_listed_tool_are_refused_without_their_values() {
    let node = Fake::adder();
    let (layer, guard) = guarded(ValidationPolicy::default(), &node);
    list(&guard).await;
    let refused = guard.handle(add(&json!({"a": "hunter2"}))).await;
    assert_eq!(refused.is_refusal(), Some(Reason::InvalidArguments));
    let body = json_of(&refused);
    assert_eq!(body["result"]["isError"], true);
    assert_eq!(body["result"]["_meta"]["mcp-guard/refusal"]["pointer"], "/a");
    assert_eq!(body["result"]["_meta"]["mcp-guard/refusal"]["rule"], "type");
    assert!(!body.to_string().contains("hunter2"));
    assert_eq!(guard.handle(add(&json!({"a": 1}))).await.is_refusal(), None);
    assert_eq!(node.asked(), ["tools/list", "tools/call"]);
    assert!(layer.catalog().hints("add").unwrap().read_only);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_arguments_is_checked_as_one_with_none() {
    let node = Fake::adder();
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    let refused = guard.handle(request("tools/call", &json!({"name": "add"}))).await;
    assert_eq!(refused.is_refusal(), Some(Reason::InvalidArguments));
}

/// JSON parsers differ in which of two members they take: the node could run with one that was never checked.
#[tokio::test(start_paused = true)]
async fn an_argument_that_comes_twice_is_refused() {
    let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":"x","a":1}}}"#;
    for messages in [Mode::Enforce, Mode::Off] {
        let (_, guard) = guarded(ValidationPolicy::new(messages, Mode::Enforce, Mode::Off), &Fake::adder());
        let refused = guard.handle(request_in(Revision::V2025_06_18, text)).await;
        let data = &json_of(&refused)["error"]["data"];
        assert_eq!((&data["pointer"], &data["rule"]), (&json!("/params/arguments/a"), &json!("uniqueNames")));
    }
}

#[tokio::test(start_paused = true)]
async fn the_guard_lists_all_pages_itself_before_a_first_call() {
    let page = |name: &str| json!([{"name": name, "inputSchema": {"required": ["x"]}}]);
    let node = Fake::new(Value::Null).with(|node| node.pages = vec![page("one"), page("two"), page("add")]);
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    assert_eq!(guard.handle(add(&json!({}))).await.is_refusal(), Some(Reason::InvalidArguments));
    let cursors: Vec<_> = node.inner.lock().unwrap().asked.iter().map(|asked| asked["params"].clone()).collect();
    assert_eq!(cursors, [json!({}), json!({"cursor": "1"}), json!({"cursor": "2"})]);
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_together_share_one_list() {
    let node = Fake::adder();
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    let answers = join_all((0..20).map(|_| guard.handle(add(&json!({}))))).await;
    assert!(answers.iter().all(|answer| answer.is_refusal() == Some(Reason::InvalidArguments)));
    assert_eq!(node.asked(), ["tools/list"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_streams_is_learned_from_too() {
    let node = Fake::adder().with(|node| node.streams = Some("notifications/message"));
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    assert_eq!(guard.handle(add(&json!({}))).await.is_refusal(), Some(Reason::InvalidArguments));
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    list(&guard).await;
    assert_eq!(guard.handle(add(&json!({}))).await.is_refusal(), Some(Reason::InvalidArguments));
    assert_eq!(node.asked(), ["tools/list", "tools/list"]);
}

#[tokio::test(start_paused = true)]
async fn word_of_a_change_has_the_tools_listed_again() {
    for word in ["notifications/tools/list_changed", "tools/list_changed"] {
        let node = Fake::adder();
        let (_, guard) = guarded(ValidationPolicy::default(), &node);
        list(&guard).await;
        node.set(|node| node.streams = Some(word));
        text(guard.handle(request("ping", &json!({}))).await).await;
        node.set(|node| (node.streams, node.pages) = (None, vec![json!([{"name": "add"}])]));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(guard.handle(add(&json!({}))).await.is_refusal(), None);
        assert_eq!(node.asked(), ["tools/list", "ping", "tools/list", "tools/call"]);
    }
}

#[tokio::test(start_paused = true)]
async fn after_word_of_a_change_calls_are_checked_by_the_old_list_until_there_is_another() {
    let node = Fake::adder();
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    list(&guard).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    node.set(|node| node.streams = Some("notifications/tools/list_changed"));
    text(guard.handle(request("ping", &json!({}))).await).await;
    let mut first = Box::pin(guard.handle(add(&json!({"a": 1}))));
    assert!(first.as_mut().now_or_never().is_none());
    // The same word again, while the tools are listed.
    text(guard.handle(request("ping", &json!({}))).await).await;
    let other = guard.handle(add(&json!({}))).now_or_never().expect("it does not wait");
    assert_eq!(other.is_refusal(), Some(Reason::InvalidArguments));
    assert_eq!(first.await.is_refusal(), None);
    assert_eq!(guard.handle(add(&json!({}))).await.is_refusal(), Some(Reason::InvalidArguments));
}

#[tokio::test(start_paused = true)]
async fn many_sessions_told_of_one_change_share_one_list() {
    let node = Fake::adder();
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    list(&guard).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    node.set(|node| node.streams = Some("notifications/tools/list_changed"));
    for _ in 0..20 {
        text(guard.handle(request("ping", &json!({}))).await).await;
    }
    node.set(|node| node.streams = None);
    node.asked();
    join_all((0..20).map(|_| guard.handle(add(&json!({"a": 1}))))).await;
    guard.handle(add(&json!({"a": 1}))).await;
    assert_eq!(node.asked().iter().filter(|method| *method == "tools/list").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_says_so_with_each_call_has_the_tools_listed_once_a_second() {
    let node = Fake::adder().with(|node| node.streams = Some("notifications/tools/list_changed"));
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    list(&guard).await;
    node.asked();
    for _ in 0..30 {
        tokio::time::advance(Duration::from_millis(100)).await;
        text(guard.handle(add(&json!({"a": 1}))).await).await;
    }
    // Each list takes a tenth of a second too.
    assert_eq!(node.asked().iter().filter(|method| *method == "tools/list").count(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_node_has_the_tools_listed_again() {
    let node = Fake::adder();
    let (layer, guard) = guarded(ValidationPolicy::default(), &node);
    list(&guard).await;
    layer.catalog().forget();
    assert_eq!(layer.catalog().hints("add"), None);
    guard.handle(add(&json!({"a": 1}))).await;
    assert_eq!(node.asked(), ["tools/list", "tools/list", "tools/call"]);
}

#[tokio::test(start_paused = true)]
async fn an_aged_list_is_fetched_again_by_one_call_while_others_go_by_what_is_known() {
    let node = Fake::adder();
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    list(&guard).await;
    tokio::time::advance(Duration::from_secs(300)).await;
    let mut first = Box::pin(guard.handle(add(&json!({"a": 1}))));
    assert!(first.as_mut().now_or_never().is_none());
    let other = guard.handle(add(&json!({}))).now_or_never().expect("it does not wait");
    assert_eq!(other.is_refusal(), Some(Reason::InvalidArguments));
    assert_eq!(first.await.is_refusal(), None);
    assert_eq!(node.asked(), ["tools/list", "tools/list", "tools/call"]);
}

#[tokio::test(start_paused = true)]
async fn when_the_tools_cannot_be_listed_calls_pass_and_the_next_try_waits() {
    let spy = Spy::default();
    let _guard = set_default_local_recorder(&spy);
    let node = Fake::adder().with(|node| node.status = 500);
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    for _ in 0..3 {
        assert_eq!(guard.handle(add(&json!({}))).await.is_refusal(), None);
    }
    // What a 500 carries is not believed, even if it looks like a list.
    assert_eq!(node.asked(), ["tools/list", "tools/call", "tools/call", "tools/call"]);
    assert!(spy.seen().contains(&"mcp_guard_validation_unchecked_total{reason=no_list} 1".to_owned()));
    node.set(|node| node.status = 200);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(guard.handle(add(&json!({}))).await.is_refusal(), Some(Reason::InvalidArguments));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_the_node_does_not_want_keeps_others_from_listing_for_half_a_second_only() {
    let node = Fake::adder().with(|node| node.status = 404);
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    for _ in 0..3 {
        assert_eq!(guard.handle(add(&json!({}))).await.is_refusal(), None);
    }
    assert_eq!(node.asked(), ["tools/list", "tools/call", "tools/call", "tools/call"]);
    node.set(|node| node.status = 200);
    tokio::time::advance(Duration::from_millis(500)).await;
    assert_eq!(guard.handle(add(&json!({}))).await.is_refusal(), Some(Reason::InvalidArguments));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_takes_too_long_holds_a_call_only_so_long() {
    let node = Fake::adder().with(|node| node.takes = Duration::from_secs(3600));
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    let start = clock::now();
    let answers = join_all((0..5).map(|_| guard.handle(add(&json!({}))))).await;
    assert!(answers.iter().all(|answer| answer.is_refusal().is_none()));
    assert!(clock::now() - start <= Duration::from_millis(2_010));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_while_listing_leaves_the_turn_to_the_next() {
    let node = Fake::adder();
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    let mut gone = Box::pin(guard.handle(add(&json!({}))));
    assert!(gone.as_mut().now_or_never().is_none());
    drop(gone);
    assert_eq!(guard.handle(add(&json!({}))).await.is_refusal(), Some(Reason::InvalidArguments));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_tool_passes_and_is_looked_for_once_in_ten_seconds() {
    let node = Fake::adder();
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    list(&guard).await;
    let unknown = || request("tools/call", &json!({"name": "new"}));
    assert_eq!(guard.handle(unknown()).await.is_refusal(), None);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(guard.handle(unknown()).await.is_refusal(), None);
    assert_eq!(guard.handle(unknown()).await.is_refusal(), None);
    assert_eq!(node.asked(), ["tools/list", "tools/call", "tools/list", "tools/call", "tools/call"]);
}

#[tokio::test(start_paused = true)]
async fn a_schema_that_does_not_compile_is_reported_once_and_its_calls_pass() {
    let spy = Spy::default();
    let _guard = set_default_local_recorder(&spy);
    let node = Fake::new(json!([{"name": "add", "inputSchema": {"type": "nonsense"}}]));
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    for _ in 0..3 {
        assert_eq!(guard.handle(add(&json!({"a": 1}))).await.is_refusal(), None);
    }
    let seen = spy.seen();
    let count = |name: &str| seen.iter().filter(|line| line.starts_with(name)).count();
    assert_eq!(count("mcp_guard_tool_schemas_skipped_total{reason=invalid}"), 1);
    assert_eq!(count("mcp_guard_validation_unchecked_total{reason=schema}"), 3);
}

#[tokio::test(start_paused = true)]
async fn report_counts_and_lets_pass_and_off_does_not_look() {
    let spy = Spy::default();
    let _guard = set_default_local_recorder(&spy);
    let node = Fake::adder().with(|node| node.result = json!({"structuredContent": {"sum": "x"}}));
    let (_, guard) = guarded(ValidationPolicy::new(Mode::Report, Mode::Report, Mode::Report), &node);
    assert_eq!(guard.handle(request("resources/read", &json!({}))).await.is_refusal(), None);
    let answer = guard.handle(add(&json!({}))).await;
    assert_eq!(json_of(&answer)["result"]["structuredContent"]["sum"], "x");
    let reports = |spy: &Spy| spy.seen().into_iter().filter(|line| line.contains("reports")).collect::<Vec<_>>();
    let line = |check: &str| format!("mcp_guard_validation_reports_total{{check={check}}} 1");
    assert_eq!(reports(&spy), [line("messages"), line("arguments"), line("results")]);

    let (_, guard) = guarded(ValidationPolicy::new(Mode::Off, Mode::Off, Mode::Off), &node);
    node.asked();
    assert_eq!(guard.handle(add(&json!({}))).await.is_refusal(), None);
    assert_eq!(node.asked(), ["tools/call"]);
    assert!(reports(&spy).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_result_that_breaks_its_schema_is_replaced_also_in_a_stream() {
    let node = Fake::adder().with(|node| node.result = json!({"structuredContent": {"sum": "hunter2"}}));
    let (_, guard) = guarded(ValidationPolicy::new(Mode::Enforce, Mode::Enforce, Mode::Enforce), &node);
    let whole = json_of(&guard.handle(add(&json!({"a": 1}))).await);
    assert_eq!(whole["result"]["isError"], true);
    assert_eq!(
        whole["result"]["content"][0]["text"],
        "the tool's result breaks its output schema: at /sum: type: number"
    );
    node.set(|node| node.streams = Some("notifications/message"));
    let stream = text(guard.handle(add(&json!({"a": 1}))).await).await;
    assert!(stream.contains("id: 1\n") && stream.contains("isError") && !stream.contains("hunter2"), "{stream}");
}

#[tokio::test(start_paused = true)]
async fn a_stateless_call_lists_with_its_own_meta() {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "c", "version": "1"},
    });
    let node = Fake::adder();
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    let params = json!({"name": "add", "arguments": {}, "_meta": meta});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let refused = guard.handle(request_in(Revision::V2026_07_28, &message.to_string())).await;
    assert_eq!(refused.is_refusal(), Some(Reason::InvalidArguments));
    assert_eq!(node.inner.lock().unwrap().asked[0]["params"], json!({"_meta": meta}));
}

#[tokio::test(start_paused = true)]
async fn a_response_of_the_client_passes_unread() {
    let guard = ValidationLayer::new(ValidationPolicy::default()).wrap(Accepting);
    let response = request_in(Revision::V2025_11_25, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert_eq!(guard.handle(response).await.is_refusal(), None);
}

struct Accepting;

impl Handler for Accepting {
    type Body = Full<Bytes>;

    async fn handle(&self, _: McpRequest) -> HttpAnswer {
        Answer::whole(Response::new(()).into_parts().0, Bytes::new(), crate::outcome::Outcome::Ok)
    }
}

#[tokio::test(start_paused = true)]
async fn another_server_info_has_the_tools_listed_again() {
    let node = Fake::adder();
    let (_, guard) = guarded(ValidationPolicy::default(), &node);
    let client = json!({"name": "test", "version": "0"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    for (version, expected) in
        [("1", &["tools/list", "tools/call"][..]), ("1", &["tools/call"]), ("2", &["tools/list", "tools/call"])]
    {
        node.set(|node| node.result = json!({"serverInfo": {"name": "node", "version": version}}));
        guard.handle(request("initialize", &params)).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        node.asked();
        guard.handle(add(&json!({"a": 1}))).await;
        assert_eq!(node.asked(), expected, "{version}");
    }
}
