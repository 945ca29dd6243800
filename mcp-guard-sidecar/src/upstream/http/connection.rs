//! One connection to the node, which makes its progress in the call that uses it.
//!
//! What nobody has, in the pool, makes no progress: that the node has closed it is seen when it is taken.

use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use super::slots::Slot;
use crate::http1::{self, Decoder, Framing, HEAD_BYTES_MAX, Http1Error, Inbox, Outbox};
use crate::upstream::dial::NodeStream;

/// A connection to the node, counted while it lives.
pub(super) struct Connection {
    stream: NodeStream,
    inbox: Inbox,
    outbox: Outbox,
    answer: Decoder,
    /// Whether the node takes another request after this one.
    is_kept: bool,
    pub(super) slot: Slot,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum SendError {
    /// Nothing was written: the request may be sent again.
    Unsent(Http1Error),
    /// Something was, or may have been.
    Broken(Http1Error),
}

impl Connection {
    /// A connection over `stream`, in the place `slot`.
    pub(super) fn over(stream: NodeStream, slot: Slot) -> Self {
        let (inbox, outbox) = (Inbox::default(), Outbox::default());
        Self { stream, inbox, outbox, answer: Decoder::new(Framing::Length(0)), is_kept: true, slot }
    }

    /// Whether the node has neither closed it, as far as is known, nor said anything unasked.
    pub(super) fn is_open(&mut self, cx: &mut Context<'_>) -> bool {
        self.inbox.poll_more(&mut self.stream, 0, cx).is_pending()
    }

    /// Whether another request can be sent: all was written, and all of the answer read.
    pub(super) fn is_reusable(&self) -> bool {
        self.is_kept && self.outbox.is_empty() && self.answer.is_at_end() && self.inbox.0.is_empty()
    }

    /// Sends a request, and waits for the head of the answer. It may come before the request was written.
    pub(super) async fn send(&mut self, head: &Parts, body: &Bytes) -> Result<Response<()>, SendError> {
        self.outbox.request(head, body);
        std::future::poll_fn(|cx| self.poll_head(cx)).await
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<()>, SendError>> {
        if let Err(error) = self.write(cx) {
            if self.outbox.is_untouched() {
                return Poll::Ready(Err(SendError::Unsent(error)));
            }
            // The answer that says why may have come before.
            self.stop_writing();
        }
        loop {
            match self.poll_more(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) if self.outbox.is_untouched() && !self.outbox.is_empty() => {
                    return Poll::Ready(Err(SendError::Unsent(error)));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(SendError::Broken(error))),
                Poll::Pending => return Poll::Pending,
            }
            let head = match http1::response(&mut self.inbox.0) {
                Ok(Some(head)) => head,
                Ok(None) if self.inbox.0.len() > HEAD_BYTES_MAX => {
                    return Poll::Ready(Err(SendError::Broken(Http1Error::HeadTooLarge)));
                }
                Ok(None) => continue,
                Err(error) => return Poll::Ready(Err(SendError::Broken(error))),
            };
            self.answer = Decoder::new(head.framing);
            self.is_kept &= head.is_kept;
            return Poll::Ready(Ok(head.response));
        }
    }

    /// How much of the answer's body is still to come, if that is known.
    pub(super) fn missing(&self) -> Option<u64> {
        self.answer.missing()
    }

    /// The next part of the answer's body that has come.
    pub(super) fn received(&mut self) -> Result<Option<Bytes>, Http1Error> {
        self.answer.next(&mut self.inbox.0)
    }

    /// The next part of the answer's body.
    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Http1Error>>> {
        loop {
            match self.received() {
                Ok(Some(part)) => return Poll::Ready(Some(Ok(part))),
                Ok(None) if self.answer.is_at_end() => return Poll::Ready(None),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            // A node that answers while it reads gets the rest of the request.
            if self.write(cx).is_err() {
                self.stop_writing();
            }
            match self.poll_more(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(Http1Error::Cut)) if self.answer == Decoder::UntilClose => return Poll::Ready(None),
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Writes what can be written now.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Http1Error> {
        match self.outbox.poll_flush(&mut self.stream, cx) {
            Poll::Ready(Err(error)) => Err(error.into()),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn stop_writing(&mut self) {
        self.outbox = Outbox::default();
        self.is_kept = false;
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Http1Error>> {
        let expected = self.answer.missing().unwrap_or(0);
        self.inbox.poll_more(&mut self.stream, expected, cx).map(|read| match read {
            Ok(0) => Err(Http1Error::Cut),
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        })
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_kept", &self.is_kept).finish_non_exhaustive()
    }
}
