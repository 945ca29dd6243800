//! Clients that speak something else than Streamable HTTP: what each says becomes requests of that, through the same guard.
//!
//! ```text
//! WebSocket   GET web_socket_path, 101 ─▶ a text frame a message ─┐
//! HTTP+SSE    GET sse_path, POST sse_path?session=…               ├─▶ Bridge ─▶ POST, GET, DELETE of one session ─▶ the stack
//! lines       TCP, a listener of their own                       ─┘
//! ```
//!
//! | what                                   | bound, and what happens there                                          |
//! |----------------------------------------|------------------------------------------------------------------------|
//! | a message                              | `limits.body`: the connection ends (lines, WebSocket), or 413 (SSE)    |
//! | requests of a client in flight         | 128: no more is read until one is answered                             |
//! | messages for a client that does not read | 64, then calls wait; for longer than `limits.keep_alive`: it ends    |
//! | streams of HTTP+SSE                    | `limits.sessions`: `too_many_sessions`                                 |

mod bridge;
mod event_stream;
mod lines;
mod said;
mod web_socket;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::Body;
use mcp_guard::config::LimitsPolicy;
use mcp_guard::middleware::headers::LAST_EVENT_ID;
use mcp_guard::middleware::{EdgePolicy, GuardBody, Handler};
use mcp_guard::refusal::Refusal;
use metrics::counter;

pub(crate) use self::bridge::Bridge;
pub(crate) use self::event_stream::Events;
pub use self::event_stream::Streams as EventStreams;
pub(crate) use self::lines::serve as serve_lines;
pub(crate) use self::web_socket::serve as serve_web_socket;
use crate::config::{Listener, Transport};
use crate::refused;
use crate::served::{DrainedBody, Served};

/// What a listener serves beside Streamable HTTP.
#[derive(Debug)]
pub struct Doors {
    /// Where the guard serves Streamable HTTP.
    path: String,
    /// By which name, where a client names no host.
    host: HeaderValue,
    sse_path: Option<String>,
    web_socket_path: Option<String>,
    pub(crate) is_lines: bool,
    edge: EdgePolicy,
    message_bytes_max: usize,
    message_timeout: Duration,
    /// How long a client may take none of what it is sent.
    pub(crate) patience: Duration,
    streams: Arc<EventStreams>,
}

impl Doors {
    /// Those of `listener`; `None` where it has no others. `edge` says who may come in; `streams` are those that
    /// are open at its `sse_path`.
    pub fn of(
        listener: &Listener,
        edge: EdgePolicy,
        limits: &LimitsPolicy,
        streams: &Arc<EventStreams>,
    ) -> Option<Self> {
        let is_lines = listener.transport == Transport::Lines;
        if !is_lines && listener.sse_path.is_none() && listener.web_socket_path.is_none() {
            return None;
        }
        let host = listener.allowed_hosts.first().map_or("localhost", |host| host.as_str());
        let text = |path: &crate::config::McpPath| path.as_str().to_owned();
        Some(Self {
            path: text(&listener.path),
            host: HeaderValue::try_from(host).unwrap_or(HeaderValue::from_static("localhost")),
            sse_path: listener.sse_path.as_ref().map(text),
            web_socket_path: listener.web_socket_path.as_ref().map(text),
            is_lines,
            edge,
            message_bytes_max: limits.body_bytes_max(),
            message_timeout: limits.body_timeout(),
            patience: limits.keep_alive(),
            streams: Arc::clone(streams),
        })
    }
}

/// The answer to a request that came in by one of the doors.
pub(crate) type Entered<B> = Pin<Box<dyn Future<Output = Response<DrainedBody<GuardBody<B>>>> + Send>>;

/// Lets a request in by one of the doors; gives it back if it is for none of them.
#[expect(clippy::result_large_err, reason = "what is given back goes on at once")]
pub(crate) fn enter<H: Handler, B>(
    doors: &Arc<Doors>,
    served: &Served<H>,
    request: Request<B>,
) -> Result<Entered<H::Body>, Request<B>>
where
    B: Body<Data: Send> + Send + 'static,
{
    let path = Some(request.uri().path());
    let is_web_socket = path == doors.web_socket_path.as_deref();
    if !is_web_socket && path != doors.sse_path.as_deref() {
        return Err(request);
    }
    let (head, body) = request.into_parts();
    let answer = match doors.edge.admit_by_name(&head.uri, &head.headers) {
        Err(refusal) => Err(refusal),
        Ok(()) if is_web_socket => web_socket::accept(&head).map(|response| response.map(DrainedBody::Whole)),
        Ok(()) => return Ok(event_stream::answer(doors, served, head, body)),
    };
    let response = answer.unwrap_or_else(|refusal| refuse(&refusal));
    Ok(Box::pin(std::future::ready(response)))
}

/// A refusal of the host's own, which is counted.
fn refuse<B>(refusal: &Refusal) -> Response<DrainedBody<B>> {
    counter!("mcp_guard_refusals_total", "reason" => refusal.reason().as_str()).increment(1);
    refused::response(refusal).map(DrainedBody::Whole)
}

/// What the head by which a client came in says to each of its messages too: who it is and where from, not what is sent
/// and how.
fn kept(head: &HeaderMap) -> HeaderMap {
    let is_kept = |name: &HeaderName| {
        let text = name.as_str();
        !NOT_KEPT.contains(name) && !text.starts_with("sec-websocket-") && !text.starts_with("mcp-")
    };
    head.iter().filter(|(name, _)| is_kept(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

const NOT_KEPT: [HeaderName; 13] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    LAST_EVENT_ID,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Messages for a client that wait until it reads.
const OUT_MAX: usize = 64;

/// A channel of messages for a client.
fn channel() -> (tokio::sync::mpsc::Sender<Bytes>, tokio::sync::mpsc::Receiver<Bytes>) {
    tokio::sync::mpsc::channel(OUT_MAX)
}
