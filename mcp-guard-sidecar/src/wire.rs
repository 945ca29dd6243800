//! An accepted stream, and what was read of it by whoever had it before.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use pingora::protocols::Stream;
use tokio::io::AsyncReadExt;

/// A stream between two owners: what one has read too much is read first by the next.
#[derive(Debug)]
pub(crate) struct Wire {
    unread: Bytes,
    /// Whoever has spoken HTTP/1 goes on with that.
    is_http1: bool,
    io: TokioIo<Stream>,
}

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
    pub(crate) fn new(stream: Stream) -> Self {
        Self { unread: Bytes::new(), is_http1: false, io: TokioIo::new(stream) }
    }

    /// The same stream, over which HTTP/1 was spoken, and of which `unread` was read in vain. Copied, because the buffer that
    /// it lies in is large, even around nothing.
    pub(crate) fn after_http1(self, unread: &[u8]) -> Self {
        Self { unread: Bytes::copy_from_slice(unread), is_http1: true, ..self }
    }

    /// Waits for the client's next bytes, as many as tell what it speaks; `None` if none come any more.
    ///
    /// Nothing is lost when this is dropped, and until something comes the stream has no buffer.
    pub(crate) async fn begins(&mut self) -> io::Result<Option<Protocol>> {
        loop {
            if !PREFACE.starts_with(&self.unread) || (self.is_http1 && !self.unread.is_empty()) {
                return Ok(Some(Protocol::Http1));
            }
            let mut more = [0; PREFACE.len()];
            let missing = PREFACE.len().saturating_sub(self.unread.len());
            if missing == 0 {
                return Ok(Some(Protocol::Http2));
            }
            let read = self.io.inner_mut().read(more.get_mut(..missing).unwrap_or_default()).await?;
            if read == 0 {
                return Ok((!self.unread.is_empty()).then_some(Protocol::Http1));
            }
            self.unread = [&self.unread, more.get(..read).unwrap_or_default()].concat().into();
        }
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(self.unread.get(..length).unwrap_or_default());
        self.unread.advance(length);
        if self.unread.is_empty() {
            self.unread = Bytes::new();
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
