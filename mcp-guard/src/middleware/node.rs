//! The inner end of the stack: the upstream, its answers classified.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use http_body::Body;

use super::answer::Answer;
use super::body::Stream;
use super::handler::{Handler, McpRequest};
use super::headers::{is_coded, is_event_stream};
use super::metrics;
use super::upstream::{BoxError, Upstream, UpstreamError};
use crate::call::{Call, Kind};
use crate::outcome::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::reply::Reply;

/// Passes calls to the upstream and says how they ended.
#[derive(Clone)]
pub struct Node<U> {
    upstream: U,
    answer_bytes_max: usize,
}

impl<U> Node<U> {
    /// Answers of more than this are cut off, unless [`Node::answer_bytes_max`] says otherwise.
    pub const ANSWER_BYTES_MAX: usize = 16 << 20;

    /// The inner end around `upstream`.
    pub fn new(upstream: U) -> Self {
        Self { upstream, answer_bytes_max: Self::ANSWER_BYTES_MAX }
    }

    /// Bounds a whole answer, and one event of a stream.
    #[must_use]
    pub fn answer_bytes_max(mut self, bytes: usize) -> Self {
        self.answer_bytes_max = bytes;
        self
    }
}

impl<U> fmt::Debug for Node<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("answer_bytes_max", &self.answer_bytes_max).finish_non_exhaustive()
    }
}

impl<U: Upstream> Handler for Node<U> {
    type Body = U::Body;

    /// Boxed, since what waits for a node is large, and each concern around it would move it by the copy.
    fn handle(&self, request: McpRequest) -> impl Future<Output = Answer<U::Body>> + Send {
        Box::pin(self.exchange(request))
    }
}

impl<U> Node<U> {
    async fn exchange(&self, request: McpRequest) -> Answer<U::Body>
    where
        U: Upstream,
    {
        let call = Arc::clone(&request.call);
        let McpRequest { now: start, deadline, stream_deadline, .. } = request;
        let exchange = async {
            match self.upstream.send(request).await {
                Ok(response) => self.read(response, &call, stream_deadline).await,
                // Whoever gives it back may have lost how long there is for it.
                Err(UpstreamError::Unsent { detail, mut request }) => {
                    (request.deadline, request.stream_deadline) = (deadline, stream_deadline);
                    unavailable(detail, &call).with_unsent(request)
                }
                Err(error) => failure(error, &call),
            }
        };
        let mut answer = match within(deadline, exchange).await {
            Some(answer) => answer,
            None => refuse(Reason::DeadlineExceeded, "the call's time is up", Outcome::TimedOut, &call),
        };
        if call.is_request() {
            answer.on_end(move |_, at| metrics::tried(at.duration_since(start).as_secs_f64()));
        }
        answer
    }

    /// Reads a whole answer, or hands a stream on.
    async fn read<B>(&self, response: Response<B>, call: &Arc<Call>, until: Option<Instant>) -> Answer<B>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let (head, body) = response.into_parts();
        let coded = is_coded(&head.headers);
        if is_event_stream(&head.headers) {
            let stream = Stream::new(body, Arc::clone(call), self.answer_bytes_max);
            return Answer::streaming(head, if coded { stream.unread() } else { stream.until(until) });
        }
        match collect(body, self.answer_bytes_max).await {
            Ok(bytes) => {
                let body = if coded { &[][..] } else { &bytes };
                match classify(head.status.as_u16(), body, call) {
                    Ok(outcome) => Answer::whole(head, bytes, outcome),
                    Err(detail) => refuse(Reason::UpstreamFailed, detail, Outcome::Broken, call),
                }
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

/// What `future` gives, if it does so before `deadline`.
///
/// Without one there is no timer: the first of a runtime's timers wakes the thread that waits for the next.
async fn within<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline.into(), future).await.ok(),
        None => Some(future.await),
    }
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
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
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
            // As long as it will be, so that it is not copied as it grows.
            rest.reserve(announced.saturating_sub(rest.len()).max(first.len() + data.remaining()));
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// How a call ended that was answered so, or why that is no answer to it.
fn classify(status: u16, body: &[u8], call: &Call) -> Result<Outcome, &'static str> {
    match status {
        429 | 500.. => Ok(Outcome::HttpError(status)),
        // Nor is a redirect an answer; its client learns what to do, as it would without the guard.
        300.. => Ok(Outcome::HttpRefused(status)),
        _ if call.kind == Kind::Request && !body.is_empty() => match Reply::read(body, call) {
            Reply::Answer(outcome) => Ok(outcome),
            // Its client would wait on for its own, or take this for that.
            Reply::Other => Err("its answer is to something else"),
            Reply::Unreadable => Err("its answer is no message"),
        },
        _ => Ok(Outcome::Ok),
    }
}

/// The answer to a call on which the upstream failed.
fn failure<B>(error: UpstreamError, call: &Call) -> Answer<B> {
    match error {
        UpstreamError::Unavailable(detail) | UpstreamError::Unsent { detail, .. } => unavailable(detail, call),
        UpstreamError::Failed(detail) => refuse(Reason::UpstreamFailed, &detail, Outcome::Broken, call),
        UpstreamError::Replaced(detail) => refuse(Reason::UpstreamFailed, &detail, Outcome::Replaced, call),
        UpstreamError::TimedOut(limit) => {
            refuse(Reason::DeadlineExceeded, &format!("no answer within {limit:?}"), Outcome::TimedOut, call)
        }
        UpstreamError::Refused(refusal) => Answer::refuse_with(&refusal, Some(call), Outcome::Refused),
    }
}

fn unavailable<B>(detail: String, call: &Call) -> Answer<B> {
    let refusal = Refusal::new(Reason::UpstreamUnavailable, detail).retry_after(Duration::from_secs(1));
    Answer::refuse_with(&refusal, Some(call), Outcome::Unreachable)
}

fn refuse<B>(reason: Reason, detail: &str, outcome: Outcome, call: &Call) -> Answer<B> {
    Answer::refuse_with(&Refusal::new(reason, detail), Some(call), outcome)
}
