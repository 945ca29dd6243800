//! A server that lies: it answers with ids, texts, sessions and statuses that are wrong, to show that each is counted. What it
//! says proves nothing about real servers.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

type Answer = Response<Full<Bytes>>;

/// What a server says to call number n, counted over all sessions from 0; an error closes the connection, and `Pending` never
/// answers.
pub(crate) type Lie = fn(usize, &Value) -> Said;

/// See [`Lie`].
pub(crate) enum Said {
    Answer(Answer),
    Closed,
    Pending,
}

/// A liar that runs until it is dropped.
pub(crate) struct Liar {
    pub(crate) url: String,
    _runtime: Runtime,
}

impl Liar {
    pub(crate) fn start(lie: Lie) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        runtime.spawn(serve(listener, lie));
        Self { url, _runtime: runtime }
    }
}

async fn serve(listener: TcpListener, lie: Lie) {
    let calls = Arc::new(AtomicUsize::new(0));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let calls = Arc::clone(&calls);
        let served = service_fn(move |request| answer(request, lie, Arc::clone(&calls)));
        tokio::spawn(async move { http1::Builder::new().serve_connection(TokioIo::new(stream), served).await });
    }
}

async fn answer(request: Request<Incoming>, lie: Lie, calls: Arc<AtomicUsize>) -> io::Result<Answer> {
    let method = request.method().clone();
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    match call["method"].as_str() {
        _ if method == Method::DELETE => Ok(status(405)),
        Some("initialize") => {
            let result = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "liar", "version": "0"}});
            let answer = json!({"jsonrpc": "2.0", "id": call["id"], "result": result}).to_string();
            Ok(in_session("one", answer))
        }
        Some("tools/call") => match lie(calls.fetch_add(1, Ordering::Relaxed), &call) {
            Said::Answer(answer) => Ok(answer),
            Said::Closed => Err(io::Error::other("closed")),
            Said::Pending => std::future::pending().await,
        },
        _ => Ok(status(202)),
    }
}

/// The right answer.
pub(crate) fn echo(call: &Value) -> Value {
    let text = &call["params"]["arguments"]["text"];
    json!({"jsonrpc": "2.0", "id": call["id"], "result": {"content": [{"type": "text", "text": text}]}})
}

pub(crate) fn status(status: u16) -> Answer {
    Response::builder().status(status).body(Full::default()).unwrap()
}

/// `body` as JSON, in the session `session`.
pub(crate) fn in_session(session: &str, body: impl ToString) -> Answer {
    let response = Response::builder().header("content-type", "application/json").header("mcp-session-id", session);
    response.body(Full::from(body.to_string())).unwrap()
}

/// `events` as a stream of server-sent events.
pub(crate) fn events(events: &[Value]) -> Answer {
    let text: String = events.iter().map(|event| format!("event: message\ndata: {event}\n\n")).collect();
    Response::builder().header("content-type", "text/event-stream").body(Full::from(text)).unwrap()
}

/// That `body`.
pub(crate) fn say(body: impl ToString) -> Said {
    Said::Answer(in_session("one", body))
}
