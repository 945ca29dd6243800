//! Speaks to an upstream with sessions as the guard does: one HTTP request for each message, read before.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::middleware::{CallDeadline, UpstreamError};
use mcp_guard::revision::Revision;
use mcp_guard_sidecar::upstream::sessions::{SessionBody, SessionNode};
use serde_json::{Value, json};
use tower::ServiceExt;

/// A client of a node.
#[derive(Clone, Debug)]
pub struct Client {
    node: SessionNode,
}

/// What an answer was.
pub type Reply = Result<Response<SessionBody>, UpstreamError>;

impl Client {
    /// A client of `node`.
    pub fn new(node: SessionNode) -> Self {
        Self { node }
    }

    /// Sends `body` as it is, read without any validation.
    pub async fn post(&self, session: Option<&str>, body: &str) -> Reply {
        self.send(call(session, body), body, "application/json, text/event-stream").await
    }

    /// Sends a call that was read already.
    pub async fn send(&self, call: Call, body: &str, accept: &str) -> Reply {
        self.deliver(request(call, body, accept)).await
    }

    /// Sends `body` with the time by which its answer must have begun.
    pub async fn post_until(&self, deadline: Instant, session: &str, body: &str) -> Reply {
        let mut request = request(call(Some(session), body), body, "application/json, text/event-stream");
        request.extensions_mut().insert(CallDeadline(deadline));
        self.deliver(request).await
    }

    async fn deliver(&self, request: Request<Full<Bytes>>) -> Reply {
        self.node.clone().oneshot(request).await
    }

    /// Opens the stream, or ends the session.
    pub async fn without_body(&self, kind: Kind, session: &str) -> Reply {
        let mut call = Call::new(kind, Method::NONE, Revision::V2025_11_25);
        call.session = Some(session.into());
        self.send(call, "", "text/event-stream").await
    }

    /// Opens a session and returns its id.
    pub async fn open(&self) -> String {
        let response = self.post(None, INITIALIZE).await.expect("an answer to initialize");
        let session = response.headers()["mcp-session-id"].to_str().expect("an id").to_owned();
        let answer: Value = serde_json::from_slice(&bytes(response).await).expect("JSON");
        assert_eq!(answer["result"]["serverInfo"]["name"], "stdio-node");
        session
    }

    /// Calls a tool and returns the text of its result.
    pub async fn tool(&self, session: &str, name: &str, arguments: Value) -> String {
        let response = self.call(session, &json!(1), name, arguments).await.expect("an answer");
        let answer = messages(response).await.pop().expect("a message");
        answer["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
    }

    /// Calls a tool.
    pub async fn call(&self, session: &str, id: &Value, name: &str, arguments: Value) -> Reply {
        let params = json!({"name": name, "arguments": arguments, "_meta": {"progressToken": id}});
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        self.post(Some(session), &body.to_string()).await
    }
}

/// A request that opens a session.
pub const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25",
    "capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

fn request(call: Call, body: &str, accept: &str) -> Request<Full<Bytes>> {
    let request = Request::post("/mcp").header("accept", accept).extension(Arc::new(call));
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).expect("a request")
}

/// The facts about `body`, however wrong it is.
pub fn call(session: Option<&str>, body: &str) -> Call {
    let message: Value = serde_json::from_str(body).unwrap_or_default();
    let id = message.get("id").map(Value::to_string);
    let kind = match (message.get("method"), &id) {
        (None, Some(_)) if message.get("result").is_some() || message.get("error").is_some() => Kind::Response,
        (Some(_), None) => Kind::Notification,
        _ => Kind::Request,
    };
    let method = message["method"].as_str().map_or(Method::NONE, Method::new);
    let mut call = Call::new(kind, method, Revision::V2025_11_25);
    call.id = id.map(Into::into);
    call.session = session.map(Into::into);
    let params = message.get("params").map(Value::to_string);
    call.params = params.and_then(|text| body.find(&text).map(|start| start..start + text.len()));
    call
}

/// The whole body.
pub async fn bytes(response: Response<SessionBody>) -> Bytes {
    response.into_body().collect().await.expect("a body").to_bytes()
}

/// All messages of an answer, be it JSON or a stream.
pub async fn messages(response: Response<SessionBody>) -> Vec<Value> {
    let is_stream = is_stream(&response);
    let bytes = bytes(response).await;
    if !is_stream {
        return vec![serde_json::from_slice(&bytes).expect("JSON")];
    }
    let text = std::str::from_utf8(&bytes).expect("UTF-8");
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(parse).collect()
}

/// The next message of a stream; `None` at its end.
pub async fn next(body: &mut SessionBody) -> Option<Value> {
    let frame = body.frame().await?.expect("a frame").into_data().expect("data");
    let text = std::str::from_utf8(&frame).expect("UTF-8").to_owned();
    text.lines().find_map(|line| line.strip_prefix("data: ")).map(parse)
}

/// Whether an answer is a stream.
pub fn is_stream(response: &Response<SessionBody>) -> bool {
    response.headers().get("content-type").is_some_and(|value| value == "text/event-stream")
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}
