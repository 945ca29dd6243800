//! The seam that all concerns stack on.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;

use super::{Answer, clock};
use crate::call::Call;
use crate::json::Tape;

/// Answers one message: a concern with what lies behind it.
///
/// Like [`tower::Service`], but with `&self` and a future that is not boxed, so that six concerns nest into one
/// future. There is no readiness: [`Node`](super::Node) waits for the wrapped service to be ready.
pub trait Handler: Send + Sync + 'static {
    /// The body of the wrapped service's responses.
    type Body: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static;

    /// Answers `request`. A refusal is an answer; there are no errors.
    fn handle(&self, request: McpRequest) -> impl Future<Output = Answer<Self::Body>> + Send;
}

impl<H: Handler> Handler for Arc<H> {
    type Body = H::Body;

    fn handle(&self, request: McpRequest) -> impl Future<Output = Answer<H::Body>> + Send {
        H::handle(self, request)
    }
}

/// One message with the head of the HTTP request that brought it. Cheap to clone.
#[derive(Clone)]
#[non_exhaustive]
pub struct McpRequest {
    /// Method, URI, headers and extensions.
    pub head: Arc<Parts>,
    /// The message, byte for byte; empty for [`Kind::Listen`](crate::call::Kind) and `End`.
    pub body: Bytes,
    /// What is known about it.
    pub call: Arc<Call>,
    /// What was read of the body, as long as the body is what was read: whoever changes that takes this away.
    pub tape: Option<Tape>,
    /// When the clock was last read for it. A handler that waits reads it anew before it passes the request on, so that
    /// all the others need not.
    pub now: Instant,
    /// When the answer must have begun; a whole answer must have ended by then.
    pub deadline: Option<Instant>,
    /// When a stream must have brought the answer; without it, only its beginning is bounded.
    pub stream_deadline: Option<Instant>,
}

impl McpRequest {
    /// A request from its parts.
    pub fn new(head: Arc<Parts>, body: Bytes, call: Arc<Call>) -> Self {
        Self::at(clock::now(), head, body, call)
    }

    /// The same, where the clock was just read.
    pub fn at(now: Instant, head: Arc<Parts>, body: Bytes, call: Arc<Call>) -> Self {
        Self { head, body, call, tape: None, now, deadline: None, stream_deadline: None }
    }
}

/// Headers may hold credentials and the body arguments, so neither is shown.
impl fmt::Debug for McpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpRequest")
            .field("method", &self.call.method)
            .field("id", &self.call.id)
            .finish_non_exhaustive()
    }
}

/// The address of the client, put into the request's extensions by whoever accepted the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "made by the host")]
pub struct Client(pub IpAddr);

/// Who the client is, as whoever accepted the connection has verified it, put into the request's extensions: it becomes
/// the [`Call::subject`].
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "made by the host")]
pub struct Subject(pub Arc<str>);
