//! An upstream whose failures a test controls. It stands in for a node only where a real one cannot be made to fail.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use mcp_guard::GuardLayer;
use mcp_guard::middleware::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tower::ServiceBuilder;

/// A running upstream; when this is dropped, nobody listens any more and its connections are cut.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            // If it panicked, whoever waited for its answer has failed already.
            let _ = thread.join();
        }
    }
}

struct Shared {
    calls: AtomicUsize,
    seen: Mutex<Vec<(HeaderMap, Value)>>,
    gate: Semaphore,
    script: Script,
}

/// What a test has to say to a message; `None` leaves it to the upstream.
type Script = Box<dyn Fn(&Message) -> Option<Response> + Send + Sync>;

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What arrived.
#[derive(Debug)]
pub struct Message {
    /// The HTTP method.
    pub http: Method,
    /// The headers.
    pub headers: HeaderMap,
    /// The message; `null` if there is none.
    pub json: Value,
}

impl Message {
    /// The JSON-RPC method, or the HTTP method where there is no message.
    pub fn method(&self) -> &str {
        self.json["method"].as_str().unwrap_or(self.http.as_str())
    }

    /// A result that answers it.
    pub fn result(&self, result: Value) -> Value {
        json!({"jsonrpc": "2.0", "id": self.json["id"], "result": result})
    }
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
        Self::scripted(|_| None)
    }

    /// Starts one that asks `script` first.
    ///
    /// # Panics
    ///
    /// If it cannot start.
    pub fn scripted(script: impl Fn(&Message) -> Option<Response> + Send + Sync + 'static) -> Self {
        Self::scripted_at(ANY_PORT, script)
    }

    /// Starts one that asks `script` first, at `address`.
    ///
    /// # Panics
    ///
    /// If it cannot start.
    pub fn scripted_at(
        address: SocketAddr,
        script: impl Fn(&Message) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(address, Box::new(script), |router| router)
    }

    /// Starts one that answers the first message with `method` by a stream of events.
    ///
    /// # Panics
    ///
    /// If it cannot start.
    pub fn streaming(method: &'static str) -> (Self, Events) {
        let (events, stream) = events();
        let stream = Mutex::new(Some(stream));
        let taken = move || stream.lock().expect("not poisoned").take();
        (Self::scripted(move |message| if message.method() == method { taken() } else { None }), events)
    }

    /// Starts one with a guard around it in the same process, as a library user would; its address is the guard's.
    ///
    /// # Panics
    ///
    /// If it cannot start.
    pub fn within(guard: GuardLayer) -> Self {
        Self::serve(ANY_PORT, Box::new(|_| None), move |router| {
            let guarded = ServiceBuilder::new().map_request(name_client).layer(guard).service(router);
            Router::new().fallback_service(guarded)
        })
    }

    fn serve(address: SocketAddr, script: Script, around: impl FnOnce(Router) -> Router + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let shared = Shared { calls: AtomicUsize::new(0), seen: Mutex::default(), gate: Semaphore::new(0), script };
        let shared = Arc::new(shared);
        let state = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(address).await.expect("a port");
                tell.send(listener.local_addr().expect("its address")).expect("somebody waits");
                let router = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(state);
                let service = around(router).into_make_service_with_connect_info::<SocketAddr>();
                tokio::select! {
                    _ = axum::serve(listener, service).into_future() => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address: told.recv().expect("it starts"), shared, running: Some((stop, thread)) }
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

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// What a stream brings, event by event.
#[derive(Debug)]
pub struct Events(mpsc::Sender<Bytes>);

impl Events {
    /// Sends `data` as an event. The stream ends when this is dropped.
    ///
    /// # Panics
    ///
    /// If the stream was closed, or nobody reads it.
    pub fn send(&self, data: &Value) {
        self.send_text(&format!("data: {data}\n\n"));
    }

    /// Sends `text` as it is.
    ///
    /// # Panics
    ///
    /// If the stream was closed, or nobody reads it.
    pub fn send_text(&self, text: &str) {
        self.0.try_send(Bytes::copy_from_slice(text.as_bytes())).expect("an open stream");
    }

    /// Whether the connection of the stream was closed by the other side.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// A stream of events, and the answer that it is.
pub fn events() -> (Events, Response) {
    let (sender, receiver) = mpsc::channel::<Bytes>(16);
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        let next = receiver.recv().await?;
        Some((Ok::<_, Infallible>(next), receiver))
    });
    (Events(sender), ([("content-type", "text/event-stream")], Body::from_stream(stream)).into_response())
}

fn name_client(mut request: Request) -> Request {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        request.extensions_mut().insert(Client(peer.ip()));
    }
    request
}

async fn answer(State(shared): State<Arc<Shared>>, http: Method, headers: HeaderMap, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if message["id"] == "mcp-guard-ping" {
        // The guard's own, of which tests that count know nothing.
        return rpc(&json!({"jsonrpc": "2.0", "id": message["id"], "result": {}}));
    }
    shared.seen.lock().expect("not poisoned").push((headers.clone(), message.clone()));
    if message["method"] == "tools/call" {
        shared.calls.fetch_add(1, Ordering::SeqCst);
    }
    let arrived = Message { http, headers, json: message };
    if let Some(response) = (shared.script)(&arrived) {
        return response;
    }
    let message = arrived.json;
    let id = message["id"].clone();
    let result = match message["method"].as_str() {
        Some("initialize") => json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "test", "version": "0"},
        }),
        Some("server/discover") => json!({
            "resultType": "complete", "supportedVersions": ["2025-11-25", "2026-07-28"], "capabilities": {"tools": {}},
            "ttlMs": 0, "cacheScope": "private",
        }),
        Some("tools/list") => json!({"tools": tools()}),
        Some("tools/call") => return call(&shared, id, &message["params"]).await,
        Some("subscriptions/listen") => return open_stream(),
        // A notification, or a response.
        method if id.is_null() || method.is_none() => return StatusCode::ACCEPTED.into_response(),
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

/// A message as an answer.
pub fn rpc(message: &Value) -> Response {
    ([("content-type", "application/json")], message.to_string()).into_response()
}

/// A stream with one event that then stays open.
pub fn open_stream() -> Response {
    let event = b"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n";
    let first = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(event))]);
    let body = Body::from_stream(futures_util::StreamExt::chain(first, futures_util::stream::pending()));
    ([("content-type", "text/event-stream")], body).into_response()
}

/// An answer that breaks off after its first bytes.
pub fn broken() -> Response {
    let chunks = [Ok::<_, std::io::Error>(Bytes::from_static(b"{")), Err(std::io::Error::other("broken"))];
    let body = Body::from_stream(futures_util::stream::iter(chunks));
    ([("content-type", "application/json")], body).into_response()
}
