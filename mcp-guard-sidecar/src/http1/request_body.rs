//! The body of a request, and the socket that it comes over.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Decoder, Http1Error, Inbox, Outbox};

/// A client's socket, which the connection has, and for as long as one comes a request's body too.
#[derive(Debug)]
pub(super) struct Socket<S> {
    pub(super) io: S,
    pub(super) inbox: Inbox,
    /// The body of the request that came last.
    pub(super) body: Decoder,
    /// Whether its client waits to be told to send it.
    pub(super) awaits_go_on: bool,
    pub(super) outbox: Outbox,
}

/// Polled by one task alone, so there is never a wait for the lock.
#[derive(Debug)]
pub(super) struct Shared<S>(Arc<Mutex<Socket<S>>>);

impl<S> Clone for Shared<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Shared<S> {
    pub(super) fn new(io: S, unread: Bytes) -> Self {
        Self(Arc::new(Mutex::new(Socket {
            io,
            inbox: Inbox(unread),
            body: Decoder::Length(0),
            awaits_go_on: false,
            outbox: Outbox::default(),
        })))
    }

    /// The socket and what of it was not asked for yet, if nobody else has it.
    pub(super) fn into_inner(self) -> Option<(S, Bytes)> {
        let socket = Arc::into_inner(self.0)?.into_inner().unwrap_or_else(PoisonError::into_inner);
        Some((socket.io, socket.inbox.0))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Socket<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// The next part of the body.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Http1Error>> {
        if std::mem::take(&mut self.awaits_go_on) && self.inbox.0.is_empty() {
            self.outbox.go_on();
        }
        loop {
            if let Some(part) = self.body.next(&mut self.inbox.0)? {
                return Poll::Ready(Ok(Some(part)));
            }
            if self.body.is_at_end() {
                return Poll::Ready(Ok(None));
            }
            // Some bytes: a socket that does not take them at once is one whose client does not wait for them.
            let _ = self.outbox.poll_flush(&mut self.io, cx)?;
            if ready!(self.poll_more(cx))? == 0 {
                return Poll::Ready(Err(Http1Error::Cut));
            }
        }
    }

    /// Reads more; 0 bytes is the end.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        self.inbox.poll_more(&mut self.io, self.body.missing().unwrap_or(0), cx)
    }
}

/// The body of a request: there as a whole, or coming.
#[derive(Debug)]
pub(crate) enum RequestBody<S> {
    /// It came with the head.
    Whole(Bytes),
    /// The rest of it is still on its way.
    Coming(Coming<S>),
}

/// A body that is read from its socket when it is asked for.
#[derive(Debug)]
pub(crate) struct Coming<S>(pub(super) Shared<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Body for RequestBody<S> {
    type Data = Bytes;
    type Error = Http1Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        match self.get_mut() {
            Self::Whole(body) if body.is_empty() => Poll::Ready(None),
            Self::Whole(body) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(body))))),
            Self::Coming(Coming(socket)) => {
                let part = ready!(socket.lock().poll_body(cx));
                Poll::Ready(part.map(|part| part.map(Frame::data)).transpose())
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_empty(),
            Self::Coming(Coming(socket)) => socket.lock().body.is_at_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => SizeHint::with_exact(body.len() as u64),
            Self::Coming(Coming(socket)) => {
                socket.lock().body.missing().map_or_else(SizeHint::new, SizeHint::with_exact)
            }
        }
    }
}
