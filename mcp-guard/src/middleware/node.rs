//! The inner end of the stack: the wrapped http service, its answers classified.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::TryFutureExt;
use http::{Request, Response, header};
use http_body::Body;
use http_body_util::Full;
use thiserror::Error;
use tower::ServiceExt;

use super::answer::Answer;
use super::body::Stream;
use super::handler::{CallDeadline, Handler, McpRequest};
use super::{clock, metrics};
use crate::call::{Call, Kind};
use crate::outcome::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::reply::Reply;

/// How the wrapped service may fail, when it wants to be understood.
///
/// Any other error is taken for [`UpstreamError::Failed`]: the call may have run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The upstream could not be reached; nothing of the call was sent.
    #[error("{0}")]
    Unavailable(String),
    /// The upstream broke off after something was sent.
    #[error("{0}")]
    Failed(String),
    /// The upstream did not answer in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The upstream's adapter refused the call; it was not sent.
    #[error("{}", .0.detail())]
    Refused(Box<Refusal>),
}

type BoxError = Box<dyn StdError + Send + Sync>;

/// Passes calls to the wrapped service and says how they ended.
#[derive(Clone)]
pub struct Node<S> {
    service: S,
    answer_bytes_max: usize,
}

impl<S> Node<S> {
    /// Answers of more than this are cut off, unless [`Node::answer_bytes_max`] says otherwise.
    pub const ANSWER_BYTES_MAX: usize = 16 << 20;

    /// The inner end around `service`.
    pub fn new(service: S) -> Self {
        Self { service, answer_bytes_max: Self::ANSWER_BYTES_MAX }
    }

    /// Bounds a whole answer, and one event of a stream.
    #[must_use]
    pub fn answer_bytes_max(mut self, bytes: usize) -> Self {
        self.answer_bytes_max = bytes;
        self
    }
}

impl<S> fmt::Debug for Node<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("answer_bytes_max", &self.answer_bytes_max).finish_non_exhaustive()
    }
}

impl<S, B> Handler for Node<S>
where
    S: tower::Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Body = B;

    async fn handle(&self, request: McpRequest) -> Answer<B> {
        let call = Arc::clone(&request.call);
        let McpRequest { now: start, deadline, stream_deadline, .. } = request;
        let exchange = async {
            // Mapped here, because an error that is not `Send` may not live across the await below.
            let response = self.service.clone().oneshot(into_http(request)).map_err(Into::into).await;
            match response {
                Ok(response) => self.read(response, &call, stream_deadline).await,
                Err(error) => failure(error, &call),
            }
        };
        let deadline = deadline.unwrap_or_else(|| start + FOR_EVER);
        let mut answer = match tokio::time::timeout_at(deadline.into(), exchange).await {
            Ok(answer) => answer,
            Err(_) => refuse(Reason::DeadlineExceeded, "the call's time is up", Outcome::TimedOut, &call),
        };
        if call.is_request() {
            answer.on_end(move |_| metrics::tried(clock::now().duration_since(start).as_secs_f64()));
        }
        answer
    }
}

/// Stands for no deadline: thirty years.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

impl<S> Node<S> {
    /// Reads a whole answer, or hands a stream on.
    async fn read<B>(&self, response: Response<B>, call: &Arc<Call>, until: Option<Instant>) -> Answer<B>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let (head, body) = response.into_parts();
        let coded = is_coded(&head);
        if is_event_stream(&head) {
            let stream = Stream::new(body, Arc::clone(call), self.answer_bytes_max);
            return Answer::streaming(head, if coded { stream.unread() } else { stream.until(until) });
        }
        match collect(body, self.answer_bytes_max).await {
            Ok(bytes) => {
                let body = if coded { &[][..] } else { &bytes };
                let outcome = classify(head.status.as_u16(), body, call);
                Answer::whole(head, bytes, outcome)
            }
            Err(Cut::TooLarge) => {
                let detail = format!("its answer is larger than {} bytes", self.answer_bytes_max);
                refuse(Reason::UpstreamFailed, &detail, Outcome::TooLarge, call)
            }
            Err(Cut::Broken(error)) => {
                refuse(Reason::UpstreamFailed, &format!("its answer broke off: {error}"), Outcome::Broken, call)
            }
        }
    }
}

fn into_http(request: McpRequest) -> Request<Full<Bytes>> {
    let mut head = Arc::unwrap_or_clone(request.head);
    // The body is whole here, whatever framing it came with, and nobody needs to be asked whether to send it.
    head.headers.remove(header::TRANSFER_ENCODING);
    head.headers.remove(header::EXPECT);
    // A compressed answer could not be read on its way through.
    head.headers.remove(header::ACCEPT_ENCODING);
    let announced = head.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if request.body.is_empty() {
        head.headers.remove(header::CONTENT_LENGTH);
    } else if announced != Some(request.body.len()) {
        head.headers.insert(header::CONTENT_LENGTH, request.body.len().into());
    }
    head.extensions.insert(request.call);
    if let Some(deadline) = request.deadline {
        head.extensions.insert(CallDeadline(deadline));
    }
    Request::from_parts(head, Full::new(request.body))
}

fn is_event_stream(head: &http::response::Parts) -> bool {
    let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

/// Whether the body is compressed although nobody asked for that, and so cannot be read.
fn is_coded(head: &http::response::Parts) -> bool {
    head.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity")
}

/// Why an answer could not be read to its end.
enum Cut {
    TooLarge,
    Broken(BoxError),
}

/// Reads `body` to its end.
async fn collect<B>(body: B, bytes_max: usize) -> Result<Bytes, Cut>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(Cut::TooLarge);
    }
    let mut body = std::pin::pin!(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|error| Cut::Broken(error.into()))?;
        let Ok(mut data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.remaining() > bytes_max {
            return Err(Cut::TooLarge);
        }
        // Most answers are one frame, which is kept as it is.
        if first.is_empty() && rest.is_empty() {
            first = data.copy_to_bytes(data.remaining());
        } else {
            if !first.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

fn classify(status: u16, body: &[u8], call: &Call) -> Outcome {
    match status {
        429 | 500.. => Outcome::HttpError(status),
        400.. => Outcome::HttpRefused(status),
        _ if call.kind == Kind::Request && !body.is_empty() => match Reply::read(body, call) {
            Reply::Answer(outcome) => outcome,
            // Strange, but a node that speaks JSON-RPC is no broken node: its client will sort it out.
            Reply::Other => Outcome::Ok,
            Reply::Unreadable => Outcome::Broken,
        },
        _ => Outcome::Ok,
    }
}

/// The answer to a call on which the wrapped service failed.
fn failure<B>(error: BoxError, call: &Call) -> Answer<B> {
    let error = match error.downcast::<UpstreamError>() {
        Ok(error) => *error,
        Err(error) => UpstreamError::Failed(error.to_string()),
    };
    match error {
        UpstreamError::Unavailable(detail) => {
            let refusal = Refusal::new(Reason::UpstreamUnavailable, detail).retry_after(Duration::from_secs(1));
            Answer::refuse_with(&refusal, Some(call), Outcome::Unreachable)
        }
        UpstreamError::Failed(detail) => refuse(Reason::UpstreamFailed, &detail, Outcome::Broken, call),
        UpstreamError::TimedOut(limit) => {
            refuse(Reason::DeadlineExceeded, &format!("no answer within {limit:?}"), Outcome::TimedOut, call)
        }
        UpstreamError::Refused(refusal) => Answer::refuse_with(&refusal, Some(call), Outcome::Refused),
    }
}

fn refuse<B>(reason: Reason, detail: &str, outcome: Outcome, call: &Call) -> Answer<B> {
    Answer::refuse_with(&Refusal::new(reason, detail), Some(call), outcome)
}
