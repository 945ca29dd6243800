//! A node that lists and runs tools, for tests.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::Service;

/// A node that lists and runs tools, and remembers what it was asked.
#[derive(Clone)]
pub(super) struct Fake {
    pub(super) inner: Arc<Mutex<Inner>>,
}

pub(super) struct Inner {
    /// The pages of its list.
    pub(super) pages: Vec<Value>,
    /// What `tools/call` returns.
    pub(super) result: Value,
    /// The status of its lists.
    pub(super) status: u16,
    /// How long a list takes.
    pub(super) takes: Duration,
    /// Whether it answers with a stream, in which it first says that something changed.
    pub(super) streams: Option<&'static str>,
    pub(super) asked: Vec<Value>,
}

impl Fake {
    pub(super) fn new(tools: Value) -> Self {
        let inner = Inner {
            pages: vec![tools],
            result: json!({"content": []}),
            status: 200,
            takes: Duration::from_millis(100),
            streams: None,
            asked: Vec::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// One tool called `add`, which wants a number `a` and gives a number `sum`.
    pub(super) fn adder() -> Self {
        Self::new(json!([{
            "name": "add",
            "inputSchema": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
            "outputSchema": {"type": "object", "properties": {"sum": {"type": "number"}}},
            "annotations": {"readOnlyHint": true},
        }]))
    }

    pub(super) fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        change(&mut self.inner.lock().unwrap());
        self
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner.lock().unwrap());
    }

    /// The methods that it was asked since the last time.
    pub(super) fn asked(&self) -> Vec<String> {
        let asked = std::mem::take(&mut self.inner.lock().unwrap().asked);
        asked.iter().map(|message| message["method"].as_str().unwrap().to_owned()).collect()
    }

    fn answer(&self, message: &Value) -> (u16, Value) {
        let mut inner = self.inner.lock().unwrap();
        inner.asked.push(message.clone());
        let result = match message["method"].as_str() {
            Some("tools/list") => {
                let page: usize = message["params"]["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
                let mut result = json!({"tools": inner.pages[page]});
                if page + 1 < inner.pages.len() {
                    result["nextCursor"] = (page + 1).to_string().into();
                }
                result
            }
            _ => inner.result.clone(),
        };
        let status = if message["method"] == "tools/list" { inner.status } else { 200 };
        (status, json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
    }
}

impl Service<Request<Full<Bytes>>> for Fake {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let node = self.clone();
        Box::pin(async move {
            let body = request.into_body().collect().await?.to_bytes();
            let message: Value = serde_json::from_slice(&body).unwrap();
            let (takes, streams) = {
                let inner = node.inner.lock().unwrap();
                (if message["method"] == "tools/list" { inner.takes } else { Duration::ZERO }, inner.streams)
            };
            tokio::time::sleep(takes).await;
            let (status, answer) = node.answer(&message);
            let response = Response::builder().status(status);
            Ok(match streams {
                None => response.body(Full::from(answer.to_string())).unwrap(),
                Some(method) => {
                    let note = json!({"jsonrpc": "2.0", "method": method});
                    let stream = format!("data: {note}\n\nid: 1\ndata: {answer}\n\n");
                    response.header("content-type", "text/event-stream").body(Full::from(stream)).unwrap()
                }
            })
        })
    }
}
