//! What lies behind the guard: any http service, or a host's own way to a node.

use std::any::TypeId;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryFutureExt;
use http::{HeaderMap, Request, Response, header};
use http_body::Body;
use http_body_util::Full;
use thiserror::Error;
use tower::ServiceExt;

use super::handler::McpRequest;
use crate::refusal::Refusal;

/// Any error.
pub(super) type BoxError = Box<dyn StdError + Send + Sync>;

/// Sends messages to a node.
///
/// Every [`tower::Service`] of http requests is one: it gets the message as a request whose extensions hold the
/// `Arc<Call>` and, where there is one, the [`CallDeadline`]. A host that implements this itself is spared that detour.
pub trait Upstream: Send + Sync + 'static {
    /// The body of its answers.
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    /// Sends `request`, and waits for the head of the answer.
    fn send(&self, request: McpRequest) -> impl Future<Output = Result<Response<Self::Body>, UpstreamError>> + Send;
}

/// How an upstream may fail.
///
/// A [`tower::Service`] that wants to be understood has this as its error. Any other is taken for
/// [`UpstreamError::Failed`]: the call may have run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The upstream could not be reached; nothing of the call was sent.
    #[error("{0}")]
    Unavailable(String),
    /// The same, with the request, so that it can be sent again without anybody having kept a copy.
    #[error("{detail}")]
    Unsent {
        /// Why.
        detail: String,
        /// What was not sent, with its head's extensions; its deadlines are kept elsewhere.
        request: Box<McpRequest>,
    },
    /// The upstream broke off after something was sent.
    #[error("{0}")]
    Failed(String),
    /// The same, and the host has put another node in the place of the one that broke: that it broke says nothing about
    /// the node that is there now.
    #[error("{0}")]
    Replaced(String),
    /// The upstream did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The upstream's adapter refused the call; it was not sent.
    #[error("{}", .0.detail())]
    Refused(Box<Refusal>),
}

/// When the answer must have begun, put into the extensions of what a wrapped service gets.
///
/// The service need not keep it: the guard does. It may end its own waiting by it instead of a limit of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "read by the wrapped service")]
pub struct CallDeadline(pub Instant);

impl<S, B> Upstream for S
where
    S: tower::Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Body = B;

    async fn send(&self, request: McpRequest) -> Result<Response<B>, UpstreamError> {
        // A service keeps what it gets, so whoever wants to send it again needs a copy, unless it never fails.
        let copy = (TypeId::of::<S::Error>() != TypeId::of::<Infallible>()).then(|| request.clone());
        // Mapped here, because an error that is not `Send` may not live across the await.
        self.clone().oneshot(into_http(request)).map_err(|error| understand(error.into(), copy)).await
    }
}

fn understand(error: BoxError, request: Option<McpRequest>) -> UpstreamError {
    match (error.downcast::<UpstreamError>().map(|error| *error), request) {
        (Ok(UpstreamError::Unavailable(detail)), Some(request)) => {
            UpstreamError::Unsent { detail, request: Box::new(request) }
        }
        (Ok(error), _) => error,
        (Err(error), _) => UpstreamError::Failed(error.to_string()),
    }
}

fn into_http(request: McpRequest) -> Request<Full<Bytes>> {
    let McpRequest { head, body, call, deadline, .. } = request;
    let mut head = Arc::unwrap_or_clone(head);
    frame_whole(&mut head.headers, body.len());
    head.extensions.insert(call);
    if let Some(deadline) = deadline {
        head.extensions.insert(CallDeadline(deadline));
    }
    Request::from_parts(head, Full::new(body))
}

/// Lets `headers` say how a body of so many bytes is sent that is whole.
pub fn frame_whole(headers: &mut HeaderMap, length: usize) {
    // The body is whole here, whatever framing it came with, and nobody needs to be asked whether to send it.
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::EXPECT);
    // A compressed answer could not be read on its way through.
    headers.remove(header::ACCEPT_ENCODING);
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if length == 0 {
        headers.remove(header::CONTENT_LENGTH);
    } else if announced != Some(length) {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
}
