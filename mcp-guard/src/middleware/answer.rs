//! What comes back: a response whose outcome is known, or a stream that is still running.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, Response, StatusCode, header};

use super::body::{GuardBody, Stream};
use crate::call::Call;
use crate::outcome::Outcome;
use crate::refusal::{Reason, Refusal};

/// The answer to one message.
pub struct Answer<B> {
    head: Parts,
    body: GuardBody<B>,
    outcome: Option<Outcome>,
    refused: Option<Reason>,
}

impl<B> Answer<B> {
    /// A whole answer of which everything is known.
    pub fn whole(head: Parts, body: Bytes, outcome: Outcome) -> Self {
        Self { head, body: GuardBody::whole(body), outcome: Some(outcome), refused: None }
    }

    /// An answer that is still coming.
    pub(super) fn streaming(head: Parts, stream: Stream<B>) -> Self {
        Self { head, body: GuardBody::stream(stream), outcome: None, refused: None }
    }

    /// The answers to the members of a batch, one after the other.
    pub(super) fn chained(head: Parts, bodies: VecDeque<GuardBody<B>>) -> Self {
        Self { head, body: GuardBody::chain(bodies), outcome: Some(Outcome::Ok), refused: None }
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
        Self { head, body, outcome: Some(outcome), refused: Some(refusal.reason()) }
    }

    /// How the call ended; `None` while its stream is running.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Why the guard refused the call, if it did.
    pub fn is_refusal(&self) -> Option<Reason> {
        self.refused
    }

    /// Calls `f` with how the call ended: at once if that is known, else when the stream ends.
    ///
    /// If the client leaves first, `f` is dropped unrun; what must not be lost goes into a `Drop` of what it holds.
    pub fn on_end(&mut self, f: impl FnOnce(Outcome) + Send + 'static) {
        match (self.outcome, self.body.as_stream()) {
            (Some(outcome), _) => f(outcome),
            (None, Some(stream)) => stream.on_end(Box::new(f)),
            (None, None) => f(Outcome::Ok),
        }
    }

    /// The whole JSON answer, where it is not a stream.
    pub fn message(&self) -> Option<&Bytes> {
        self.body.as_whole().filter(|body| !body.is_empty())
    }

    /// Shows `f` each JSON-RPC message of the answer; what it returns replaces the message.
    ///
    /// A whole answer is shown at once, those in a stream as they pass.
    pub fn on_message(&mut self, mut f: impl FnMut(&[u8]) -> Option<Bytes> + Send + 'static) {
        if let Some(stream) = self.body.as_stream() {
            stream.on_message(Box::new(f));
        } else if let Some(replacement) = self.message().and_then(|message| f(message)) {
            self.body = GuardBody::whole(replacement);
        }
    }

    /// Status and headers.
    pub fn head(&self) -> &Parts {
        &self.head
    }

    /// Status and headers, to change.
    pub fn head_mut(&mut self) -> &mut Parts {
        &mut self.head
    }

    /// The body, as it goes to the client.
    pub fn into_body(self) -> GuardBody<B> {
        self.body
    }

    /// The response, as it goes to the client.
    pub fn into_response(mut self) -> Response<GuardBody<B>> {
        // The host writes the length of what is really sent.
        self.head.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(self.head, self.body)
    }
}

impl<B> fmt::Debug for Answer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.head.status)
            .field("outcome", &self.outcome)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}
