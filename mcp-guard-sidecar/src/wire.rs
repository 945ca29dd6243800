//! An accepted stream, and what was read of it by whoever had it before.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use pingora::protocols::Stream;

use crate::http1::Inbox;
use crate::tls::MaybeTls;

/// A stream of which the beginning was read, to tell what its client speaks.
#[derive(Debug)]
pub(crate) struct Wire {
    inbox: Inbox,
    io: TokioIo<ClientStream>,
}

/// A client's stream, as pingora accepted it, or with TLS on it.
pub(crate) type ClientStream = MaybeTls<Stream>;

/// What a client speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// How a client begins that speaks HTTP/2 without asking (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Wire {
    /// A stream of which nothing was read.
    pub(crate) fn new(stream: ClientStream) -> Self {
        Self { inbox: Inbox::default(), io: TokioIo::new(stream) }
    }

    /// The stream, and what was read of it.
    pub(crate) fn into_parts(self) -> (ClientStream, Bytes) {
        (self.io.into_inner(), self.inbox.0)
    }

    /// Waits for the client's first bytes, as many as tell what it speaks; `None` if none come.
    ///
    /// Nothing is lost when this is dropped, and until something comes the stream has no buffer.
    pub(crate) async fn begins(&mut self) -> io::Result<Option<Protocol>> {
        loop {
            let known = self.inbox.0.len().min(PREFACE.len());
            if self.inbox.0.get(..known) != PREFACE.get(..known) {
                return Ok(Some(Protocol::Http1));
            }
            if known == PREFACE.len() {
                return Ok(Some(Protocol::Http2));
            }
            if std::future::poll_fn(|cx| self.inbox.poll_more(self.io.inner_mut(), 0, cx)).await? == 0 {
                return Ok((known > 0).then_some(Protocol::Http1));
            }
        }
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.inbox.0.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let length = self.inbox.0.len().min(buffer.remaining());
        buffer.put_slice(self.inbox.0.get(..length).unwrap_or_default());
        self.inbox.0.advance(length);
        if self.inbox.0.is_empty() {
            self.inbox.0 = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
