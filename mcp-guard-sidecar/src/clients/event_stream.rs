//! Clients of the HTTP with server-sent events of 2024-11-05: a stream, and the address for messages that its first event
//! names.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::unfold;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use mcp_guard::middleware::headers::EVENT_STREAM;
use mcp_guard::middleware::{Handler, read_body};
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::session::SessionId;
use tokio::sync::mpsc::{self, error::SendTimeoutError};

use super::{Bridge, Doors, Entered, channel, kept, refuse};
use crate::event::event;
use crate::random;
use crate::served::{DrainedBody, Served};
use crate::sign_of_life::SignOfLife;

/// The streams that are open, by what their clients add to the address for messages.
#[derive(Debug)]
pub struct Streams {
    open: Mutex<HashMap<SessionId, Opened>>,
    max: usize,
}

#[derive(Debug)]
struct Opened {
    messages: mpsc::Sender<Bytes>,
    /// Who opened it, where that is known.
    subject: Option<Arc<str>>,
}

impl Streams {
    /// At most so many.
    pub fn new(max: usize) -> Self {
        Self { open: Mutex::default(), max }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages of a client that wait to be served.
const IN_MAX: usize = 16;

/// Answers a request at the path of the stream.
pub(super) fn answer<H: Handler, B>(doors: &Arc<Doors>, served: &Served<H>, head: Parts, body: B) -> Entered<H::Body>
where
    B: Body<Data: Send> + Send + 'static,
{
    let (doors, served) = (Arc::clone(doors), served.clone());
    Box::pin(async move {
        let answered = match head.method {
            Method::GET => open(&doors, served, &head),
            Method::POST => take(&doors, &served, &head, body).await,
            _ => Err(Refusal::new(Reason::MethodNotAllowed, "use GET, and POST to the address that it names")),
        };
        answered.unwrap_or_else(|refusal| refuse(&refusal))
    })
}

/// Opens a stream, and begins to serve what is posted for it.
fn open<H: Handler, B>(
    doors: &Arc<Doors>,
    served: Served<H>,
    head: &Parts,
) -> Result<Response<DrainedBody<B>>, Refusal> {
    let id = random::id().map_err(|error| Refusal::new(Reason::TooManySessions, error.to_string()))?;
    let (messages, posted) = mpsc::channel(IN_MAX);
    let subject = served.connection.subject.as_ref().map(|subject| Arc::clone(&subject.0));
    {
        let mut open = doors.streams.lock();
        if open.len() >= doors.streams.max {
            return Err(Refusal::new(Reason::TooManySessions, format!("{} streams are open", doors.streams.max)));
        }
        open.insert(id, Opened { messages, subject });
    }
    let entry = Entry { doors: Arc::clone(doors), id };
    let (out, told) = channel();
    let bridge = Bridge::new(served, &doors.path, kept(&head.headers), out);
    tokio::spawn(async move {
        let posted = unfold(posted, |mut posted| async move { Some((posted.recv().await?, posted)) });
        bridge.serve(posted, true).await;
        drop(entry);
    });
    let first = format!("event: endpoint\ndata: {}?session={id}\n\n", head.uri.path());
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let sign_of_life = SignOfLife::of(headers);
    Ok(response.map(|()| DrainedBody::Told(Events { first: Some(first.into()), told, sign_of_life })))
}

/// Takes a message for a stream.
async fn take<H: Handler, B, C>(
    doors: &Doors,
    served: &Served<H>,
    head: &Parts,
    body: B,
) -> Result<Response<DrainedBody<C>>, Refusal>
where
    B: Body<Data: Send> + Send + 'static,
{
    let subject = served.connection.subject.as_ref().map(|subject| &subject.0);
    let named = head.uri.query().and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("session=")));
    let messages = named.and_then(SessionId::parse).and_then(|id| {
        let open = doors.streams.lock();
        open.get(&id).filter(|opened| opened.subject.as_ref() == subject).map(|opened| opened.messages.clone())
    });
    let gone = || Refusal::new(Reason::SessionNotFound, "its stream has ended, or never was: open another");
    let messages = messages.ok_or_else(gone)?;
    let is_json = |value: &HeaderValue| value.as_bytes().starts_with(b"application/json");
    if !head.headers.get(header::CONTENT_TYPE).is_some_and(is_json) {
        return Err(Refusal::new(Reason::UnsupportedMediaType, "a message is `application/json`, in UTF-8"));
    }
    let (message, _) = read_body(body, doors.message_bytes_max, doors.message_timeout).await?;
    messages.send_timeout(message, doors.message_timeout).await.map_err(|error| match error {
        SendTimeoutError::Closed(_) => gone(),
        SendTimeoutError::Timeout(_) => Refusal::new(Reason::QueueFull, "the messages before it are not taken up yet"),
    })?;
    let mut response = Response::new(DrainedBody::Whole(Full::from("Accepted")));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// A place among the open streams.
struct Entry {
    doors: Arc<Doors>,
    id: SessionId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.doors.streams.lock().remove(&self.id);
    }
}

/// What a client is told, as events.
#[derive(Debug)]
pub(crate) struct Events {
    first: Option<Bytes>,
    told: mpsc::Receiver<Bytes>,
    sign_of_life: Option<SignOfLife>,
}

impl Events {
    /// The next one; `None` when there will be none.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if let Poll::Ready(message) = self.told.poll_recv(cx) {
            return Poll::Ready(message.map(|message| event(&message)));
        }
        self.sign_of_life.as_mut().map_or(Poll::Pending, |sign| sign.poll(cx)).map(Some)
    }
}
