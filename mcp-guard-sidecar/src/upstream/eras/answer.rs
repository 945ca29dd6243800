//! What a node answers, message by message, and what the client gets in its place.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use futures_util::stream::Stream;
use http::header::{self, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, Limited};
use mcp_guard::middleware::headers::{EVENT_STREAM, is_event_stream};
use mcp_guard::middleware::{EventSplitter, UpstreamError, clock};
use tokio::time::timeout_at;

use crate::event::event;
use crate::upstream::patience::timed_out;
use crate::upstream::sessions::{MESSAGE_BYTES_MAX, SessionBody};

pub(in crate::upstream) type BoxError = Box<dyn StdError + Send + Sync>;

/// What `answered` gives, if it does by then.
pub(in crate::upstream) async fn by<T>(
    until: Instant,
    answered: impl Future<Output = Result<T, UpstreamError>>,
) -> Result<T, UpstreamError> {
    let limit = until.saturating_duration_since(clock::now());
    timeout_at(until.into(), answered).await.unwrap_or_else(|_| Err(timed_out(limit)))
}

/// The messages of a node's answer.
pub(in crate::upstream) struct Messages<B> {
    ready: VecDeque<Bytes>,
    rest: Option<(Pin<Box<B>>, EventSplitter)>,
}

impl<B> Messages<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    /// Reads a whole answer, for as long as that takes; one that is a stream is read as it comes.
    pub(in crate::upstream) async fn of(response: Response<B>) -> Result<(StatusCode, Self), UpstreamError> {
        let (head, body) = response.into_parts();
        if is_event_stream(&head.headers) {
            let rest = Some((Box::pin(body), EventSplitter::new(MESSAGE_BYTES_MAX)));
            return Ok((head.status, Self { ready: VecDeque::new(), rest }));
        }
        let body = Limited::new(body, MESSAGE_BYTES_MAX).collect().await;
        let body = body.map_err(|error| UpstreamError::Failed(error.to_string()))?.to_bytes();
        let ready = Some(body).filter(|body| !body.is_empty()).into_iter().collect();
        Ok((head.status, Self { ready, rest: None }))
    }

    /// Gives one back, which comes again next.
    pub(in crate::upstream) fn put_back(&mut self, message: Bytes) {
        self.ready.push_front(message);
    }

    /// The next one; `None` behind the last. Loses nothing if it is dropped.
    pub(in crate::upstream) async fn next(&mut self) -> Option<Result<Bytes, UpstreamError>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(Ok(message));
            }
            let (body, splitter) = self.rest.as_mut()?;
            let failed = |error: BoxError| UpstreamError::Failed(error.to_string());
            let frame = match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await? {
                Ok(frame) => frame,
                Err(error) => return Some(Err(failed(error.into()))),
            };
            let Ok(chunk) = frame.into_data() else { continue };
            match splitter.data(chunk) {
                Ok(events) => self.ready.extend(events),
                Err(error) => return Some(Err(failed(error.into()))),
            }
        }
    }

    /// The next one, if it comes by then.
    pub(in crate::upstream) async fn next_by(&mut self, until: Instant) -> Result<Option<Bytes>, UpstreamError> {
        by(until, async { self.next().await.transpose() }).await
    }
}

/// Messages for the client, one after the other.
pub(in crate::upstream) type Told = Pin<Box<dyn Stream<Item = Result<Bytes, UpstreamError>> + Send>>;

/// The body of an answer: the node's own, or what is told in its place.
pub struct EraBody<B>(Inner<B>);

enum Inner<B> {
    Node(B),
    Session(SessionBody),
    Whole(Full<Bytes>),
    Events(Told),
}

impl<B> EraBody<B> {
    /// What the node says goes to the client as it is.
    pub(in crate::upstream) fn node(response: Response<B>) -> Response<Self> {
        response.map(|body| Self(Inner::Node(body)))
    }

    /// What a session of the guard's own says does too.
    pub(in crate::upstream) fn session(response: Response<SessionBody>) -> Response<Self> {
        response.map(|body| Self(Inner::Session(body)))
    }

    /// One message.
    pub(in crate::upstream) fn json(status: StatusCode, message: Bytes) -> Response<Self> {
        let mut response =
            Self::with_type(Inner::Whole(Full::new(message)), HeaderValue::from_static("application/json"));
        *response.status_mut() = status;
        response
    }

    /// A message with the head of the node's own answer.
    pub(in crate::upstream) fn with_head(mut head: Parts, message: Bytes) -> Response<Self> {
        head.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(head, Self(Inner::Whole(Full::new(message))))
    }

    /// No message.
    pub(in crate::upstream) fn empty(status: StatusCode) -> Response<Self> {
        let mut response = Response::new(Self(Inner::Whole(Full::default())));
        *response.status_mut() = status;
        response
    }

    /// As many as there will be.
    pub(in crate::upstream) fn events(told: Told) -> Response<Self> {
        let mut response = Self::with_type(Inner::Events(told), EVENT_STREAM);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }

    fn with_type(inner: Inner<B>, content_type: HeaderValue) -> Response<Self> {
        let mut response = Response::new(Self(inner));
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}

impl<B> std::fmt::Debug for EraBody<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EraBody").finish_non_exhaustive()
    }
}

impl<B> Body for EraBody<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Node(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Inner::Session(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Inner::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Inner::Events(told) => {
                let told = ready!(told.as_mut().poll_next(cx));
                Poll::Ready(told.map(|told| told.map(|message| Frame::data(event(&message))).map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Node(body) => body.is_end_stream(),
            Inner::Session(body) => body.is_end_stream(),
            Inner::Whole(body) => body.is_end_stream(),
            Inner::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Node(body) => body.size_hint(),
            Inner::Session(body) => body.size_hint(),
            Inner::Whole(body) => body.size_hint(),
            Inner::Events(_) => SizeHint::default(),
        }
    }
}
