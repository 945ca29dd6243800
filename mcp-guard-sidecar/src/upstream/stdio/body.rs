//! The body of an answer: a JSON message, or a stream of them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use mcp_guard::middleware::UpstreamError;
use mcp_guard::session::End;

use super::outbox::Event;
use super::session::{Listening, Waiting};

/// The body of an answer of [`Stdio`](super::Stdio).
pub struct StdioBody(Inner);

enum Inner {
    Whole(Option<Bytes>),
    Answer(Box<Stream<Waiting>>),
    Listen(Box<Stream<Listening>>),
}

struct Stream<S> {
    source: S,
    /// The id of the request that is answered, as JSON text.
    id: Box<str>,
    is_over: bool,
}

impl StdioBody {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Inner::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    pub(super) fn answer(waiting: Waiting, id: Box<str>) -> Self {
        Self(Inner::Answer(Box::new(Stream { source: waiting, id, is_over: false })))
    }

    pub(super) fn listen(listening: Listening) -> Self {
        Self(Inner::Listen(Box::new(Stream { source: listening, id: "null".into(), is_over: false })))
    }
}

type Next = Option<Result<Frame<Bytes>, UpstreamError>>;

impl<S> Stream<S> {
    fn poll(&mut self, poll_next: impl FnOnce(&S) -> Poll<Event>) -> Poll<Next> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let line = match ready!(poll_next(&self.source)) {
            Event::Message(message) => message.line,
            Event::End(end) => {
                self.is_over = true;
                match end {
                    End::Answered(line) => line,
                    End::Cancelled => cancelled(&self.id),
                    End::Broken => return Poll::Ready(Some(Err(broken()))),
                    End::Closed => return Poll::Ready(None),
                }
            }
        };
        Poll::Ready(Some(Ok(Frame::data(event(&line)))))
    }
}

/// What a call gets whose session ended before its answer came.
pub(super) fn broken() -> UpstreamError {
    UpstreamError::Failed("the node's process ended during the call".into())
}

/// The end of a stream whose request was cancelled. A stream without an answer would look like a node that broke.
fn cancelled(id: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32800,"message":"cancelled by the client"}}}}"#).into()
}

/// One server-sent event; `line` has no line ends.
fn event(line: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(line.len() + EVENT_BYTES);
    event.put_slice(EVENT_START);
    event.put_slice(line);
    event.put_slice(EVENT_END);
    event.freeze()
}

const EVENT_START: &[u8] = b"event: message\ndata: ";
const EVENT_END: &[u8] = b"\n\n";
const EVENT_BYTES: usize = EVENT_START.len() + EVENT_END.len();

impl Body for StdioBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        match &mut self.0 {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Answer(stream) => stream.poll(|waiting| waiting.outbox().poll_next(cx)),
            Inner::Listen(stream) => stream.poll(|listening| listening.outbox().poll_next(cx)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(bytes) => bytes.is_none(),
            Inner::Answer(stream) => stream.is_over,
            Inner::Listen(stream) => stream.is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inner::Answer(_) | Inner::Listen(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for StdioBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Inner::Whole(_) => "StdioBody::Whole",
            Inner::Answer(_) => "StdioBody::Answer",
            Inner::Listen(_) => "StdioBody::Listen",
        })
    }
}
