//! Clients of the stateless revision and a legacy node, in virtual time: a fake node stands in, which answers when it is told to.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream::{Stream, unfold};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::middleware::{McpRequest, Upstream, UpstreamError};
use mcp_guard::refusal::Reason;
use mcp_guard::revision::Revision;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::caller::Caller;
use super::Node;
use super::rounds::LASTS;
use super::session::IDLE;

type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

/// A node that opens sessions, and answers calls with whatever the test sends.
#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    opened: usize,
    seen: Vec<(Option<String>, Value)>,
    ended: Vec<String>,
    forgotten: Vec<String>,
    /// One for each call, in their order.
    calls: Vec<mpsc::Sender<Bytes>>,
}

impl Upstream for Fake {
    type Body = StreamBody<Frames>;

    async fn send(&self, request: McpRequest) -> Result<Response<Self::Body>, UpstreamError> {
        let mut state = self.0.lock().unwrap();
        let session = request.call.session.as_deref().map(str::to_owned);
        assert_eq!(request.head.headers["mcp-protocol-version"], "2025-11-25");
        if request.call.kind == Kind::End {
            state.ended.extend(session);
            return Ok(answer(None, 200));
        }
        let message: Value = serde_json::from_slice(&request.body).unwrap();
        state.seen.push((session.clone(), message.clone()));
        if session.is_some_and(|session| state.forgotten.contains(&session)) {
            return Ok(answer(None, 404));
        }
        Ok(match message["method"].as_str() {
            Some("initialize") => {
                state.opened += 1;
                let session = format!("s{}", state.opened);
                let result = json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "n", "version": "1"},
                    "capabilities": {"logging": {}, "tools": {"listChanged": true}}});
                let mut response = answer(Some(json!({"jsonrpc": "2.0", "id": message["id"], "result": result})), 200);
                response.headers_mut().insert("mcp-session-id", session.parse().unwrap());
                response
            }
            Some("tools/call") => {
                let (call, told) = mpsc::channel(16);
                state.calls.push(call);
                let frames = unfold(told, async |mut told| Some((Ok(Frame::data(told.recv().await?)), told)));
                let response = Response::builder().header("content-type", "text/event-stream");
                response.body(StreamBody::new(Box::pin(frames) as Frames)).unwrap()
            }
            Some("logging/setLevel") => answer(Some(json!({"jsonrpc": "2.0", "id": message["id"], "result": {}})), 200),
            _ => answer(None, 202),
        })
    }
}

fn answer(message: Option<Value>, status: u16) -> Response<StreamBody<Frames>> {
    let frame = message.map(|message| Ok(Frame::data(message.to_string().into())));
    let frames = Box::pin(futures_util::stream::iter(frame)) as Frames;
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(StreamBody::new(frames)).unwrap()
}

impl Fake {
    fn node(&self) -> Node<Self> {
        Node::new(self.clone(), Arc::default())
    }

    /// Says something in the answer to the call with this number.
    fn say(&self, call: usize, message: &Value) {
        self.0.lock().unwrap().calls[call].try_send(format!("data: {message}\n\n").into()).unwrap();
    }

    /// Answers it.
    fn finish(&self, call: usize) {
        let calls = self.seen("tools/call");
        self.say(call, &json!({"jsonrpc": "2.0", "id": calls[call].1["id"], "result": {"content": []}}));
    }

    /// The messages with this method, and the sessions that they came in.
    fn seen(&self, method: &str) -> Vec<(String, Value)> {
        let state = self.0.lock().unwrap();
        let seen = state.seen.iter().filter(|(_, message)| message["method"] == method);
        seen.map(|(session, message)| (session.clone().unwrap_or_default(), message.clone())).collect()
    }

    /// The sessions that calls came in.
    fn sessions(&self) -> Vec<String> {
        self.seen("tools/call").into_iter().map(|(session, _)| session).collect()
    }

    fn ended(&self) -> Vec<String> {
        self.0.lock().unwrap().ended.clone()
    }
}

/// A client.
#[derive(Clone)]
struct Client {
    node: Node<Fake>,
    credentials: &'static str,
    level: Option<&'static str>,
}

/// An answer: its messages.
type Told = Result<Vec<Value>, UpstreamError>;

impl Client {
    fn new(node: &Node<Fake>, credentials: &'static str) -> Self {
        Self { node: node.clone(), credentials, level: None }
    }

    fn request(&self, method: &str, mut params: Value) -> McpRequest {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"roots": {}},
            "io.modelcontextprotocol/logLevel": self.level,
        });
        let params = params.to_string();
        let start = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":"#);
        let mut call = Call::new(Kind::Request, Method::new(method), Revision::V2026_07_28);
        call.id = Some("7".into());
        call.target = Some("t".into());
        call.params = Some(start.len()..start.len() + params.len());
        let head = Request::post("/mcp").header("authorization", self.credentials).header("mcp-method", method);
        let (head, ()) = head.body(()).unwrap().into_parts();
        McpRequest::new(Arc::new(head), format!("{start}{params}}}").into(), Arc::new(call))
    }

    async fn ask(&self, method: &str, params: Value) -> Told {
        let response = self.node.serve(self.request(method, params)).await?;
        let body = response.into_body().collect().await.map_err(|error| UpstreamError::Failed(error.to_string()))?;
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        let events = text.split('\n').map(|line| line.strip_prefix("data: ").unwrap_or(line));
        Ok(events.filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    async fn call(&self) -> Told {
        self.ask("tools/call", json!({"name": "t"})).await
    }

    fn begin(&self) -> tokio::task::JoinHandle<Told> {
        let client = self.clone();
        tokio::spawn(async move { client.call().await })
    }
}

/// Lets all go on that can.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
}

fn refused(told: Told) -> Option<Reason> {
    match told {
        Err(UpstreamError::Refused(refusal)) => Some(refusal.reason()),
        Ok(_) | Err(_) => None,
    }
}

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
