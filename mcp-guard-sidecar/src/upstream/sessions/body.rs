//! The body of an answer: a JSON message, or a stream of them.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use mcp_guard::middleware::UpstreamError;
use mcp_guard::session::End;

use super::outbox::Event;
use super::waiting::{Listening, Waiting};
use crate::event::event;

/// The body of an answer of [`SessionNode`](super::SessionNode).
pub struct SessionBody(Inner);

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

impl SessionBody {
    pub(super) fn whole(bytes: Bytes) -> Self {
        Self(Inner::Whole(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }

    pub(super) fn answer(waiting: Waiting, id: Box<str>) -> Self {
        Self(Inner::Answer(Box::new(Stream::new(waiting, id))))
    }

    pub(super) fn listen(listening: Listening) -> Self {
        Self(Inner::Listen(Box::new(Stream::new(listening, "null".into()))))
    }
}

type Next = Option<Result<Frame<Bytes>, UpstreamError>>;

impl<S> Stream<S> {
    fn new(source: S, id: Box<str>) -> Self {
        Self { source, id, is_over: false }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        poll_next: impl FnOnce(&S, &mut Context<'_>) -> Poll<Event>,
    ) -> Poll<Next> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let line = match ready!(poll_next(&self.source, cx)) {
            Event::Message(message) => message.line,
            Event::End(end) => {
                self.is_over = true;
                match end {
                    End::Answered(line) => line,
                    End::Cancelled => cancelled(&self.id),
                    End::Broken => return Poll::Ready(Some(Err(broken()))),
                    End::Replaced => return Poll::Ready(Some(Err(replaced()))),
                    End::Closed => return Poll::Ready(None),
                }
            }
        };
        Poll::Ready(Some(Ok(Frame::data(event(&line)))))
    }
}

/// What a call gets whose session ended before its answer came.
pub(super) fn broken() -> UpstreamError {
    UpstreamError::Failed("the node ended the session during the call".into())
}

/// What a call gets whose node was gone before its answer came, and whose session goes on.
pub(super) fn replaced() -> UpstreamError {
    UpstreamError::Replaced("the node was gone during the call, and another has taken the session over".into())
}

/// The end of a stream whose request was cancelled. A stream without an answer would look like a node that broke.
fn cancelled(id: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32800,"message":"cancelled by the client"}}}}"#).into()
}

impl Body for SessionBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        match &mut self.0 {
            Inner::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Answer(stream) => stream.poll(cx, |waiting, cx| waiting.outbox().poll_next(cx)),
            Inner::Listen(stream) => stream.poll(cx, |listening, cx| listening.outbox().poll_next(cx)),
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

impl fmt::Debug for SessionBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Inner::Whole(_) => "SessionBody::Whole",
            Inner::Answer(_) => "SessionBody::Answer",
            Inner::Listen(_) => "SessionBody::Listen",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use mcp_guard::session::{Profile, SessionId};
    use tokio::time::timeout;

    use super::super::session::Session;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_follows_the_end_of_a_stream() {
        let session = Session::new(SessionId::from_bits(1), Profile::Standard, None);
        let mut body = SessionBody::listen(Listening::new(session.clone()).unwrap());
        session.end();
        assert!(timeout(Duration::from_secs(60), body.frame()).await.unwrap().is_none());
    }
}
