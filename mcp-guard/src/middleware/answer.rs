//! What comes back: a response whose outcome is known, or a stream that is still running.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, Response, StatusCode, header};

use super::body::{GuardBody, Stream};
use super::clock;
use super::handler::McpRequest;
use crate::call::Call;
use crate::outcome::Outcome;
use crate::refusal::{Reason, Refusal};

/// The answer to one message. In an allocation of its own, because each concern on the way back takes it and gives it on.
pub struct Answer<B>(Box<Inner<B>>);

struct Inner<B> {
    head: Parts,
    body: GuardBody<B>,
    outcome: Option<Outcome>,
    refused: Option<Reason>,
    unsent: Option<Box<McpRequest>>,
    /// Read once, for all who want to know when a whole answer was there.
    made_at: Instant,
}

impl<B> Answer<B> {
    fn new(head: Parts, body: GuardBody<B>, outcome: Option<Outcome>, refused: Option<Reason>) -> Self {
        Self(Box::new(Inner { head, body, outcome, refused, unsent: None, made_at: clock::now() }))
    }

    /// A whole answer of which everything is known.
    pub fn whole(head: Parts, body: Bytes, outcome: Outcome) -> Self {
        Self::new(head, GuardBody::whole(body), Some(outcome), None)
    }

    /// An answer that is still coming.
    pub(super) fn streaming(head: Parts, stream: Stream<B>) -> Self {
        Self::new(head, GuardBody::stream(stream), None, None)
    }

    /// The answers to the members of a batch, one after the other.
    pub(super) fn chained(head: Parts, bodies: VecDeque<GuardBody<B>>) -> Self {
        Self::new(head, GuardBody::chain(bodies), Some(Outcome::Ok), None)
    }

    /// The answer that tells `call` about `refusal`.
    pub fn refuse(refusal: &Refusal, call: &Call) -> Self {
        Self::refuse_with(refusal, Some(call), Outcome::Refused)
    }

    /// A refusal whose outcome says what happened to the node.
    pub(super) fn refuse_with(refusal: &Refusal, call: Option<&Call>, outcome: Outcome) -> Self {
        let body = refusal.body(call).map(Bytes::from);
        let (mut head, ()) = Response::new(()).into_parts();
        head.status = StatusCode::from_u16(refusal.status(call)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if body.is_some() {
            head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(seconds) = refusal.retry_after_seconds() {
            head.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if refusal.reason() == Reason::MethodNotAllowed {
            head.headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
        }
        let body = GuardBody::whole(body.unwrap_or_default());
        Self::new(head, body, Some(outcome), Some(refusal.reason()))
    }

    /// The same, with the request of which nothing was sent.
    #[must_use]
    pub fn with_unsent(mut self, request: Box<McpRequest>) -> Self {
        self.0.unsent = Some(request);
        self
    }

    /// The request, if nothing of it was sent and whoever answers has given it back.
    pub fn take_unsent(&mut self) -> Option<Box<McpRequest>> {
        self.0.unsent.take()
    }

    /// How the call ended; `None` while its stream is running.
    pub fn outcome(&self) -> Option<Outcome> {
        self.0.outcome
    }

    /// Why the guard refused the call, if it did.
    pub fn is_refusal(&self) -> Option<Reason> {
        self.0.refused
    }

    /// Calls `f` with how the call ended, and when: at once if that is known, else when the stream ends.
    ///
    /// If the client leaves first, `f` is dropped unrun; what must not be lost goes into a `Drop` of what it holds.
    pub fn on_end(&mut self, f: impl FnOnce(Outcome, Instant) + Send + 'static) {
        match (self.0.outcome, self.0.body.as_stream()) {
            (Some(outcome), _) => f(outcome, self.0.made_at),
            (None, Some(stream)) => stream.on_end(Box::new(f)),
            (None, None) => f(Outcome::Ok, self.0.made_at),
        }
    }

    /// The whole JSON answer, where it is not a stream.
    pub fn message(&self) -> Option<&Bytes> {
        self.0.body.as_whole().filter(|body| !body.is_empty())
    }

    /// Shows `f` each JSON-RPC message of the answer; what it returns replaces the message.
    ///
    /// A whole answer is shown at once, those in a stream as they pass.
    pub fn on_message(&mut self, mut f: impl FnMut(&[u8]) -> Option<Bytes> + Send + 'static) {
        if let Some(stream) = self.0.body.as_stream() {
            stream.on_message(Box::new(f));
        } else if let Some(replacement) = self.message().and_then(|message| f(message)) {
            self.0.body = GuardBody::whole(replacement);
        }
    }

    /// Status and headers.
    pub fn head(&self) -> &Parts {
        &self.0.head
    }

    /// Status and headers, to change.
    pub fn head_mut(&mut self) -> &mut Parts {
        &mut self.0.head
    }

    /// The body, as it goes to the client.
    pub fn into_body(self) -> GuardBody<B> {
        self.0.body
    }

    /// The response, as it goes to the client.
    pub fn into_response(self) -> Response<GuardBody<B>> {
        let Inner { mut head, body, .. } = *self.0;
        // The host writes the length of what is really sent.
        head.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(head, body)
    }
}

impl<B> fmt::Debug for Answer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.0.head.status)
            .field("outcome", &self.0.outcome)
            .field("refused", &self.0.refused)
            .finish_non_exhaustive()
    }
}
