//! One client's messages, as requests of Streamable HTTP, and what these are answered, as messages.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Fuse, FusedFuture, FutureExt};
use futures_util::stream::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use mcp_guard::middleware::headers::{EVENT_STREAM, SESSION, VERSION, is_event_stream};
use mcp_guard::middleware::{EventSplitter, Handler};
use mcp_guard::session::one_line;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::said::{Said, read};
use crate::asked::Asked;
use crate::served::Served;

/// Requests of one client in flight.
const IN_FLIGHT_MAX: usize = 128;

/// An event of a node's is bounded where it comes in; this bounds what is put together here.
const EVENT_BYTES_MAX: usize = 32 << 20;

/// From the end of the stream for what the node says of its own accord to the next one.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// How long a client that says no more is answered still, since it may be gone; and how long it may take to end a session
/// whose client is.
const FAREWELL: Duration = Duration::from_secs(5);

/// A client that speaks messages.
pub(crate) struct Bridge<H> {
    served: Served<H>,
    path: String,
    /// What each request says beside its message.
    head: HeaderMap,
    out: mpsc::Sender<Bytes>,
    session: Mutex<Known>,
}

/// What is known of the client's session.
#[derive(Default)]
struct Known {
    id: Option<HeaderValue>,
    version: Option<HeaderValue>,
    is_gone: bool,
}

/// What a message is answered.
enum Due {
    /// Nothing, however it ends.
    Nothing,
    /// An answer, with this id if it has one.
    Answer(Option<Box<str>>),
}

#[derive(Deserialize)]
struct Refused<'a> {
    id: Option<()>,
    #[serde(borrow)]
    error: &'a RawValue,
}

/// An answer as its request wants it: what was refused unread has no id.
fn with_id(answer: Bytes, id: Option<&str>) -> Bytes {
    match (id, serde_json::from_slice(&answer)) {
        (Some(id), Ok(Refused { id: None, error })) => {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{}}}"#, error.get()).into()
        }
        (Some(_) | None, _) => answer,
    }
}

#[derive(Deserialize)]
struct Initialized<'a> {
    #[serde(borrow)]
    result: Option<Negotiated<'a>>,
}

#[derive(Deserialize)]
struct Negotiated<'a> {
    #[serde(rename = "protocolVersion")]
    version: &'a str,
}

impl<H: Handler> Bridge<H> {
    /// A client whose messages are served with `served` at `path`, each with `head`; what it is told goes to `out`.
    pub(crate) fn new(served: Served<H>, path: &str, head: HeaderMap, out: mpsc::Sender<Bytes>) -> Self {
        Self { served: served.bare(), path: path.to_owned(), head, out, session: Mutex::default() }
    }

    /// Serves `messages` until there will be none, or the client reads no more, and ends the session. What was asked is
    /// answered before, if the client `still_reads` when it says no more.
    pub(crate) async fn serve(self, messages: impl Stream<Item = Bytes>, still_reads: bool) {
        {
            let mut messages = std::pin::pin!(messages);
            let drain = self.served.connection.drain.clone();
            let mut asked = Asked::default();
            let mut listening = std::pin::pin!(Fuse::terminated());
            let mut is_over = false;
            let mut rest = std::pin::pin!(Fuse::terminated());
            while !self.known().is_gone && (!is_over || !asked.is_empty()) {
                let message = tokio::select! {
                    biased;
                    () = self.out.closed() => break,
                    () = &mut rest, if !rest.is_terminated() => break,
                    () = drain.turns_away(), if !is_over => {
                        is_over = true;
                        continue;
                    }
                    message = messages.next(), if !is_over && asked.len() < IN_FLIGHT_MAX => message,
                    () = &mut listening, if !listening.is_terminated() => continue,
                    // A call that has always something to read leaves no turn for what comes behind it.
                    () = asked.next() => continue,
                };
                let Some(message) = message else {
                    if !still_reads {
                        break;
                    }
                    is_over = true;
                    rest.set(sleep(FAREWELL).fuse());
                    continue;
                };
                let mut head = self.head();
                let said = read(&message, &mut head);
                match &said {
                    Said::Asked(id) => {
                        asked.begin(id.clone(), self.exchange(head, message, Due::Answer(id.clone())));
                        continue;
                    }
                    Said::Cancelled(id) => asked.forget(id),
                    Said::Initialize | Said::Initialized | Said::Told => {}
                }
                // In their order: what comes behind them may depend on them.
                let due = if said == Said::Initialize { Due::Answer(None) } else { Due::Nothing };
                asked.beside(self.exchange(head, message, due)).await;
                if said == Said::Initialized {
                    listening.set(self.listen().boxed().fuse());
                }
            }
        }
        self.end().await;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the next request says beside its message.
    fn head(&self) -> HeaderMap {
        let mut head = self.head.clone();
        let known = self.known();
        if let Some(id) = &known.id {
            head.insert(SESSION, id.clone());
        }
        if let Some(version) = &known.version {
            head.insert(VERSION, version.clone());
        }
        head
    }

    async fn exchange(&self, mut head: HeaderMap, message: Bytes, due: Due) {
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        head.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        self.send(Method::POST, head, message, &due).await;
    }

    /// Hears what the node says of its own accord, as long as it does.
    async fn listen(&self) {
        loop {
            let mut head = self.head();
            head.insert(header::ACCEPT, EVENT_STREAM);
            // Not all nodes have such a stream.
            if self.send(Method::GET, head, Bytes::new(), &Due::Nothing).await != Some(StatusCode::OK) {
                return;
            }
            sleep(LISTEN_AGAIN).await;
        }
    }

    /// Ends the session, if there is one.
    async fn end(&self) {
        if self.known().id.is_some() && !self.known().is_gone {
            let ended = self.send(Method::DELETE, self.head(), Bytes::new(), &Due::Nothing);
            // One that could not be ended ends when it is silent for long.
            let _ = timeout(FAREWELL, ended).await;
        }
    }

    /// Sends a request, and passes on what it is answered. `None` if the request cannot be.
    async fn send(&self, method: Method, head: HeaderMap, message: Bytes, due: &Due) -> Option<StatusCode> {
        let is_message = method == Method::POST;
        let mut request = Request::builder().method(method).uri(&self.path).body(Full::new(message)).ok()?;
        *request.headers_mut() = head;
        let Ok(response) = self.served.answer(request).await;
        let status = response.status();
        let (head, body) = response.into_parts();
        if let Some(id) = head.headers.get(SESSION) {
            self.known().id = Some(id.clone());
        }
        if is_event_stream(&head.headers) {
            self.pass_events(body).await;
        } else if let Due::Answer(id) = due
            && let Ok(body) = body.collect().await
        {
            self.pass(with_id(body.to_bytes(), id.as_deref())).await;
        }
        if is_message && status == StatusCode::NOT_FOUND && self.known().id.is_some() {
            self.known().is_gone = true;
        }
        Some(status)
    }

    async fn pass(&self, message: Bytes) {
        if message.is_empty() {
            return;
        }
        if self.known().version.is_none()
            && let Ok(Initialized { result: Some(Negotiated { version }) }) = serde_json::from_slice(&message)
        {
            self.known().version = HeaderValue::try_from(version).ok();
        }
        // A client that is gone is noticed by whoever serves it.
        let _ = self.out.send(one_line(message)).await;
    }

    async fn pass_events(&self, mut body: impl Body<Data = Bytes> + Unpin) {
        let mut splitter = EventSplitter::new(EVENT_BYTES_MAX);
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(chunk) = frame.into_data() else { continue };
            let Ok(messages) = splitter.data(chunk) else { return };
            for message in messages {
                self.pass(message).await;
            }
        }
    }
}
