//! An upstream whose failures a test controls. It stands in for a node only where a real one cannot be made to fail.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

/// A running upstream; it ends when this is dropped.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _stop: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    calls: AtomicUsize,
    seen: std::sync::Mutex<Vec<(HeaderMap, Value)>>,
    gate: Semaphore,
}

impl Upstream {
    /// Starts it on a thread of its own.
    ///
    /// Its tools: `echo` answers with its arguments, `add` wants numbers `a` and `b`, `hold` waits for
    /// [`Upstream::release`], `broken` cuts the connection, `status` answers with the HTTP status in its argument
    /// `code`, `internal` with -32603, `error` with a result that is an error, `large` with `bytes` bytes.
    ///
    /// # Panics
    ///
    /// If it cannot start.
    pub fn start() -> Self {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let shared =
            Arc::new(Shared { calls: AtomicUsize::new(0), seen: std::sync::Mutex::default(), gate: Semaphore::new(0) });
        let state = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
                tell.send(listener.local_addr().expect("its address")).expect("somebody waits");
                let router = Router::new().fallback(answer).with_state(state);
                tokio::select! {
                    _ = axum::serve(listener, router).into_future() => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address: told.recv().expect("it starts"), shared, _stop: stop }
    }

    /// The URL of its MCP endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// How many tool calls arrived.
    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// Headers and message of everything that arrived.
    pub fn seen(&self) -> Vec<(HeaderMap, Value)> {
        self.shared.seen.lock().expect("not poisoned").clone()
    }

    /// Lets so many calls of `hold` go on.
    pub fn release(&self, calls: usize) {
        self.shared.gate.add_permits(calls);
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    shared.seen.lock().expect("not poisoned").push((headers, message.clone()));
    let id = message["id"].clone();
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "test", "version": "0"},
        }),
        Some("tools/list") => json!({"tools": tools()}),
        Some("tools/call") => {
            shared.calls.fetch_add(1, Ordering::SeqCst);
            return call(&shared, id, &message["params"]).await;
        }
        Some("subscriptions/listen") => return open_stream(),
        _ if id.is_null() => return StatusCode::ACCEPTED.into_response(),
        _ => json!({}),
    };
    rpc(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn tools() -> Value {
    let any = json!({"type": "object"});
    let numbers = json!({"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}}, "required": ["a", "b"]});
    let read_only = json!({"readOnlyHint": true});
    json!([
        {"name": "echo", "inputSchema": any}, {"name": "add", "inputSchema": numbers},
        {"name": "hold", "inputSchema": any}, {"name": "broken", "inputSchema": any},
        {"name": "status", "inputSchema": any}, {"name": "internal", "inputSchema": any},
        {"name": "error", "inputSchema": any}, {"name": "large", "inputSchema": any},
        {"name": "broken_read", "inputSchema": any, "annotations": read_only},
    ])
}

async fn call(shared: &Shared, id: Value, params: &Value) -> Response {
    let arguments = &params["arguments"];
    let content = |text: String| json!({"content": [{"type": "text", "text": text}]});
    let result = match params["name"].as_str().unwrap_or_default() {
        "hold" => {
            shared.gate.acquire().await.expect("never closed").forget();
            content("held".into())
        }
        "broken" | "broken_read" => return broken(),
        "status" => {
            let code = u16::try_from(arguments["code"].as_u64().unwrap_or(500)).expect("a status");
            return StatusCode::from_u16(code).expect("a status").into_response();
        }
        "internal" => {
            return rpc(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32603, "message": "internal"}}));
        }
        "error" => json!({"content": [], "isError": true}),
        "large" => content("x".repeat(usize::try_from(arguments["bytes"].as_u64().unwrap_or(0)).expect("a size"))),
        _ => content(arguments.to_string()),
    };
    rpc(&json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

fn rpc(message: &Value) -> Response {
    ([("content-type", "application/json")], message.to_string()).into_response()
}

/// A stream with one event that then stays open.
fn open_stream() -> Response {
    let event = b"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(event))]);
    let body = Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending()));
    ([("content-type", "text/event-stream")], body).into_response()
}

/// An answer that breaks off after its first bytes.
fn broken() -> Response {
    let chunks = [Ok::<_, std::io::Error>(Bytes::from_static(b"{")), Err(std::io::Error::other("broken"))];
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    ([("content-type", "application/json")], body).into_response()
}
