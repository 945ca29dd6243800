//! Clients of the stateless revision and a legacy node, in virtual time: a fake node stands in, which answers when it is told to.

mod calls;
mod faults;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

use super::Node;

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
    /// What it answers in place of a session.
    refuses: Option<(u16, Value)>,
    /// How long it takes to open one.
    opens_in: Duration,
    /// One for each call, in their order.
    calls: Vec<mpsc::Sender<Bytes>>,
}

impl Upstream for Fake {
    type Body = StreamBody<Frames>;

    async fn send(&self, request: McpRequest) -> Result<Response<Self::Body>, UpstreamError> {
        let opens_in = self.0.lock().unwrap().opens_in;
        if request.call.method.is(Method::INITIALIZE) {
            tokio::time::sleep(opens_in).await;
        }
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
            Some("initialize") if state.refuses.is_some() => {
                let (status, error) = state.refuses.clone().unwrap();
                answer(Some(json!({"jsonrpc": "2.0", "id": message["id"], "error": error})), status)
            }
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
        Node::new(self.clone(), 64)
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
    tokio::time::sleep(Duration::from_secs(1)).await;
}

fn refused(told: Told) -> Option<Reason> {
    match told {
        Err(UpstreamError::Refused(refusal)) => Some(refusal.reason()),
        Ok(_) | Err(_) => None,
    }
}
