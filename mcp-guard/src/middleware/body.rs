//! The body of a guarded response: whole, or a stream that is watched as it passes.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use thiserror::Error;

use super::sse::EventSplitter;
use crate::call::Call;
use crate::outcome::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::reply;

/// A body that broke off.
#[derive(Debug, Error)]
#[error("the answer broke off: {0}")]
pub struct BodyError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// The body of a guarded response.
pub struct GuardBody<B>(Inner<B>);

enum Inner<B> {
    Whole(Option<Bytes>),
    Stream(Box<Stream<B>>),
    /// The answers to the members of a batch, one after the other as events.
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
            Inner::Chain(bodies) => {
                while let Some(body) = bodies.front_mut() {
                    match ready!(Pin::new(body).poll_frame(cx)) {
                        Some(frame) => return Poll::Ready(Some(frame)),
                        None => bodies.pop_front(),
                    };
                }
                Poll::Ready(None)
            }
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

impl<B> fmt::Debug for GuardBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Inner::Whole(_) => "GuardBody::Whole",
            Inner::Stream(_) => "GuardBody::Stream",
            Inner::Chain(_) => "GuardBody::Chain",
        })
    }
}

type OnEnd = Box<dyn FnOnce(Outcome) + Send>;
type OnMessage = Box<dyn FnMut(&[u8]) -> Option<Bytes> + Send>;

/// A stream of server-sent events on its way through. Events leave whole, as they came.
pub(super) struct Stream<B> {
    body: Pin<Box<B>>,
    splitter: EventSplitter,
    call: std::sync::Arc<Call>,
    on_message: Vec<OnMessage>,
    on_end: Vec<OnEnd>,
    /// The client can ask for the rest elsewhere: an event had an id.
    resumable: bool,
    answered: bool,
    ended: bool,
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
        }
    }

    pub(super) fn on_end(&mut self, f: OnEnd) {
        self.on_end.push(f);
    }

    pub(super) fn on_message(&mut self, f: OnMessage) {
        self.on_message.push(f);
    }

    fn settle(&mut self, outcome: Outcome) {
        self.on_end.drain(..).for_each(|f| f(outcome));
    }

    /// The end of a stream that broke off.
    ///
    /// A client that waits for an answer is told that there will be none, unless it can resume the stream.
    fn fail(&mut self, error: Box<dyn std::error::Error + Send + Sync>) -> Result<Bytes, BodyError> {
        self.ended = true;
        self.settle(Outcome::Broken);
        if self.answered || self.resumable || !self.call.is_request() {
            return Err(BodyError(error));
        }
        let refusal = Refusal::new(Reason::UpstreamFailed, "its stream broke off before the answer");
        refusal.body(Some(&self.call)).map(|body| event(&body)).ok_or(BodyError(error))
    }

    /// Looks at the event `data`: the answer settles the call, and a watcher may replace the message.
    fn watch(&mut self, data: &[u8]) -> Option<Bytes> {
        if !self.answered
            && let Some(outcome) = reply::outcome(data, &self.call)
        {
            self.answered = true;
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
            let frame = match ready!(self.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(self.fail(error.into()))),
                None => return Poll::Ready(self.finish().map(Ok)),
            };
            let Ok(mut data) = frame.into_data() else { continue };
            let chunk = data.copy_to_bytes(data.remaining());
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

    /// The end of the stream. What came without its blank line is passed on as it is.
    ///
    /// From 2025-11-25 on a server may end a stream before the answer, to be resumed; before, that is a break.
    fn finish(&mut self) -> Option<Bytes> {
        self.ended = true;
        let resumable = !self.call.is_request() || self.call.revision.bad_arguments_are_results();
        self.settle(if resumable { Outcome::Ok } else { Outcome::Broken });
        Some(self.splitter.rest()).filter(|rest| !rest.is_empty())
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
