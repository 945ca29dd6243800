//! The body of a guarded response: whole, or a stream that is watched as it passes.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;
use tokio::time::Sleep;

use super::sse::EventSplitter;
use super::upstream::UpstreamError;
use super::{clock, metrics};
use crate::call::Call;
use crate::outcome::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::reply::Reply;

/// A body that broke off.
#[derive(Debug, Error)]
#[error("the answer broke off: {0}")]
pub struct BodyError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// The body of a guarded response.
pub struct GuardBody<B>(Inner<B>);

enum Inner<B> {
    Whole(Option<Bytes>),
    Stream(Box<Stream<B>>),
    /// The answers to the members of a batch as events, in the order in which they come.
    Chain(VecDeque<GuardBody<B>>),
}

impl<B> GuardBody<B> {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Inner::Whole(Some(bytes)))
    }

    pub(super) fn stream(stream: Stream<B>) -> Self {
        Self(Inner::Stream(Box::new(stream)))
    }

    pub(super) fn chain(bodies: VecDeque<Self>) -> Self {
        Self(Inner::Chain(bodies))
    }

    pub(super) fn as_stream(&mut self) -> Option<&mut Stream<B>> {
        match &mut self.0 {
            Inner::Stream(stream) => Some(stream),
            Inner::Whole(_) | Inner::Chain(_) => None,
        }
    }

    pub(super) fn as_whole(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::Whole(bytes) => bytes.as_ref(),
            Inner::Stream(_) | Inner::Chain(_) => None,
        }
    }
}

impl<B> Body for GuardBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b)))),
            Inner::Stream(stream) => stream.poll_events(cx).map(|next| next.map(|bytes| bytes.map(Frame::data))),
            Inner::Chain(bodies) => poll_any(bodies, cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Inner::Stream(_) => false,
            Inner::Chain(bodies) => bodies.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inner::Stream(_) | Inner::Chain(_) => SizeHint::default(),
        }
    }
}

/// The next frame of whichever body has one. A body that breaks off does not take the others with it.
fn poll_any<B>(
    bodies: &mut VecDeque<GuardBody<B>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    for _ in 0..bodies.len() {
        let Some(mut body) = bodies.pop_front() else { break };
        match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                bodies.push_back(body);
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(Some(Err(_)) | None) => {}
            Poll::Pending => bodies.push_back(body),
        }
    }
    if bodies.is_empty() { Poll::Ready(None) } else { Poll::Pending }
}

impl<B> fmt::Debug for GuardBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Inner::Whole(_) => "GuardBody::Whole",
            Inner::Stream(_) => "GuardBody::Stream",
            Inner::Chain(_) => "GuardBody::Chain",
        })
    }
}

type OnEnd = Box<dyn FnOnce(Outcome, Instant) + Send>;
type OnMessage = Box<dyn FnMut(&[u8]) -> Option<Bytes> + Send>;

/// A stream of server-sent events on its way through. Events leave whole, as they came.
pub(super) struct Stream<B> {
    body: Pin<Box<B>>,
    splitter: EventSplitter,
    call: std::sync::Arc<Call>,
    on_message: Vec<OnMessage>,
    on_end: Vec<OnEnd>,
    /// An event had an id, by which the rest can be asked for.
    resumable: bool,
    answered: bool,
    ended: bool,
    /// It is compressed, so nothing in it can be seen.
    unread: bool,
    /// When the answer must have come.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B> Stream<B> {
    pub(super) fn new(body: B, call: std::sync::Arc<Call>, event_bytes_max: usize) -> Self {
        let splitter = EventSplitter::new(event_bytes_max);
        Self {
            body: Box::pin(body),
            splitter,
            call,
            on_message: Vec::new(),
            on_end: Vec::new(),
            resumable: false,
            answered: false,
            ended: false,
            unread: false,
            deadline: None,
        }
    }

    /// The same, passed on as it is.
    pub(super) fn unread(mut self) -> Self {
        self.unread = true;
        self
    }

    /// The same, ended by the guard if the answer has not come by `deadline`.
    pub(super) fn until(mut self, deadline: Option<Instant>) -> Self {
        self.deadline = deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline.into())));
        self
    }

    pub(super) fn on_end(&mut self, f: OnEnd) {
        self.on_end.push(f);
    }

    pub(super) fn on_message(&mut self, f: OnMessage) {
        self.on_message.push(f);
    }

    fn settle(&mut self, outcome: Outcome) {
        let now = clock::now();
        self.on_end.drain(..).for_each(|f| f(outcome, now));
    }

    /// The end of a stream that broke off.
    ///
    /// A client that waits for an answer is told that there will be none, unless it can resume the stream.
    fn fail(&mut self, error: Box<dyn std::error::Error + Send + Sync>) -> Result<Bytes, BodyError> {
        let is_replaced = matches!(error.downcast_ref(), Some(UpstreamError::Replaced(_)));
        let outcome = if is_replaced { Outcome::Replaced } else { Outcome::Broken };
        if self.may_be_resumed() {
            self.ended = true;
            self.settle(outcome);
            return Err(BodyError(error));
        }
        self.end_unanswered(Reason::UpstreamFailed, outcome).ok_or(BodyError(error))
    }

    /// Whether the client can ask for the rest elsewhere, which only revisions with sessions have.
    fn may_be_resumed(&self) -> bool {
        self.resumable && !self.call.revision.is_stateless()
    }

    /// Ends the stream; an event tells a client that waits for an answer that there will be none.
    fn end_unanswered(&mut self, reason: Reason, outcome: Outcome) -> Option<Bytes> {
        self.ended = true;
        self.settle(outcome);
        if self.answered || self.unread || !self.call.is_request() {
            return None;
        }
        metrics::refused(reason);
        let refusal = Refusal::new(reason, "its stream ended before the answer");
        refusal.body(Some(&self.call)).map(|body| event(&body))
    }

    /// Looks at the event `data`: the answer settles the call, and a watcher may replace the message.
    fn watch(&mut self, data: &[u8]) -> Option<Bytes> {
        if !self.answered
            && let Reply::Answer(outcome) = Reply::read(data, &self.call)
        {
            self.answered = true;
            self.deadline = None;
            self.settle(outcome);
        }
        let mut replaced: Option<Bytes> = None;
        for f in &mut self.on_message {
            if let Some(replacement) = f(replaced.as_deref().unwrap_or(data)) {
                replaced = Some(replacement);
            }
        }
        replaced
    }
}

impl<B> Stream<B>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn poll_events(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        while !self.ended {
            let frame = match self.body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(self.fail(error.into()))),
                Poll::Ready(None) => return Poll::Ready(self.finish().map(Ok)),
                Poll::Pending => return self.poll_deadline(cx),
            };
            let Ok(mut data) = frame.into_data() else { continue };
            let chunk = data.copy_to_bytes(data.remaining());
            if self.unread {
                return Poll::Ready(Some(Ok(chunk)));
            }
            let mut splitter = std::mem::take(&mut self.splitter);
            let out = splitter.push(chunk, |data| self.watch(data));
            self.splitter = splitter;
            match out {
                Ok(out) if out.is_empty() => {}
                Ok(out) => {
                    self.resumable |= has_id(&out);
                    return Poll::Ready(Some(Ok(out)));
                }
                Err(error) => return Poll::Ready(Some(self.fail(error.into()))),
            }
        }
        Poll::Ready(None)
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let is_over = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        if !is_over {
            return Poll::Pending;
        }
        Poll::Ready(self.end_unanswered(Reason::DeadlineExceeded, Outcome::TimedOut).map(Ok))
    }

    /// The end of the stream. What came without its blank line is passed on as it is.
    ///
    /// A server may end a stream before the answer if it can be resumed.
    fn finish(&mut self) -> Option<Bytes> {
        let is_complete = self.answered || self.unread || !self.call.is_request() || self.may_be_resumed();
        let rest = self.splitter.rest();
        if is_complete {
            self.ended = true;
            self.settle(Outcome::Ok);
            return Some(rest).filter(|rest| !rest.is_empty());
        }
        // An event that never ended must not swallow the one that tells about it.
        self.end_unanswered(Reason::UpstreamFailed, Outcome::Broken)
    }
}

/// Whether an event in `events` has an id, by which the stream can be resumed.
fn has_id(events: &[u8]) -> bool {
    events.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| line.starts_with(b"id:"))
}

/// `message` as an event. Line ends in JSON are white space, but would end a field here.
pub(super) fn event(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(message.len() + 24);
    out.extend_from_slice(b"event: message\ndata: ");
    out.extend(message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    out.extend_from_slice(b"\n\n");
    out.freeze()
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
