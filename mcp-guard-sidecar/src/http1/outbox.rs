//! What is to be written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version, header};
use tokio::io::AsyncWrite;

use super::Framing;
use super::timer::with_date;

/// A head, and a part of the body. Empty, it holds nothing.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    head: Vec<u8>,
    body: Bytes,
    tail: &'static [u8],
    sent: usize,
}

/// A part of a body that is copied behind the head, so that one buffer is written: more than that costs less in two.
const COPIED_MAX: usize = 8 * 1024;

impl Outbox {
    /// Whether all was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.length() == 0
    }

    /// Whether nothing was written.
    pub(crate) fn is_untouched(&self) -> bool {
        self.sent == 0
    }

    /// How much was written.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    fn length(&self) -> usize {
        self.head.len() + self.body.len() + self.tail.len()
    }

    /// Puts in a request whose headers say how long its body is, where it has one.
    pub(crate) fn request(&mut self, head: &http::request::Parts, body: &Bytes) {
        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        self.head.reserve(bytes_of(&head.headers) + target.len() + REQUEST_LINE + copied(body));
        for part in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
            self.head.extend_from_slice(part.as_bytes());
        }
        self.fields(&head.headers, |_| true);
        if body.is_empty() && head.method == http::Method::POST {
            self.head.extend_from_slice(b"content-length: 0\r\n");
        }
        self.head.extend_from_slice(b"\r\n");
        self.append(body.clone(), b"");
    }

    /// Puts in the head of an answer with `length` bytes of its body behind it.
    pub(super) fn response(&mut self, head: &http::response::Parts, how: Answering) {
        let fields = bytes_of(&head.headers);
        self.head.reserve(fields + STATUS_LINE + usize::try_from(how.copied).unwrap_or_default().min(COPIED_MAX));
        self.head.extend_from_slice(if how.version == Version::HTTP_11 { b"HTTP/1.1 " } else { b"HTTP/1.0 " });
        self.head.extend_from_slice(head.status.as_str().as_bytes());
        self.head.push(b' ');
        self.head.extend_from_slice(head.status.canonical_reason().unwrap_or_default().as_bytes());
        self.head.extend_from_slice(b"\r\n");
        let is_own = |name: &header::HeaderName| {
            *name == header::CONNECTION || *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING
        };
        self.fields(&head.headers, |name| !is_own(name));
        match how.framing {
            Some(Framing::Length(length)) => {
                self.head.extend_from_slice(b"content-length: ");
                self.decimal(length);
                self.head.extend_from_slice(b"\r\n");
            }
            Some(Framing::Chunked) => self.head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Some(Framing::UntilClose) | None => {}
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            self.head.extend_from_slice(b"connection: upgrade\r\n");
        } else if !how.is_kept {
            self.head.extend_from_slice(b"connection: close\r\n");
        } else if how.version < Version::HTTP_11 {
            self.head.extend_from_slice(b"connection: keep-alive\r\n");
        }
        if !head.headers.contains_key(header::DATE) {
            self.head.extend_from_slice(b"date: ");
            with_date(|date| self.head.extend_from_slice(date));
            self.head.extend_from_slice(b"\r\n");
        }
        self.head.extend_from_slice(b"\r\n");
    }

    /// Puts in a part of a body that is delimited so.
    pub(super) fn part(&mut self, part: Bytes, framing: Framing) {
        match framing {
            Framing::Chunked => {
                self.hexadecimal(part.len());
                self.head.extend_from_slice(b"\r\n");
                self.append(part, b"\r\n");
            }
            Framing::Length(_) | Framing::UntilClose => self.append(part, b""),
        }
    }

    /// Puts in the end of a body that is delimited so.
    pub(super) fn end(&mut self, framing: Framing) {
        if framing != Framing::Chunked {
            return;
        }
        if self.body.is_empty() {
            self.head.extend_from_slice(LAST_CHUNK);
        } else {
            self.tail = b"\r\n0\r\n\r\n";
        }
    }

    /// Puts in the interim answer that asks for the body.
    pub(super) fn go_on(&mut self) {
        self.head.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    /// Writes all that is in it.
    pub(crate) fn poll_flush<S: AsyncWrite + Unpin>(
        &mut self,
        io: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.sent < self.length() {
            let written = ready!(self.poll_write(io, cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        // What lies under it may buffer.
        ready!(Pin::new(io).poll_flush(cx))?;
        *self = Self::default();
        Poll::Ready(Ok(()))
    }

    fn poll_write<S: AsyncWrite + Unpin>(&self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut skip = self.sent;
        let rest = [&self.head[..], &self.body, self.tail].map(|part| {
            let (skipped, rest) = part.split_at(skip.min(part.len()));
            skip -= skipped.len();
            rest
        });
        if let [head, [], []] = rest {
            return Pin::new(io).poll_write(cx, head);
        }
        Pin::new(io).poll_write_vectored(cx, &rest.map(IoSlice::new))
    }

    fn append(&mut self, body: Bytes, tail: &'static [u8]) {
        if body.len() <= COPIED_MAX {
            self.head.extend_from_slice(&body);
            self.head.extend_from_slice(tail);
        } else {
            (self.body, self.tail) = (body, tail);
        }
    }

    fn fields(&mut self, headers: &HeaderMap, is_sent: impl Fn(&header::HeaderName) -> bool) {
        for (name, value) in headers {
            if is_sent(name) {
                self.head.extend_from_slice(name.as_str().as_bytes());
                self.head.extend_from_slice(b": ");
                self.head.extend_from_slice(value.as_bytes());
                self.head.extend_from_slice(b"\r\n");
            }
        }
    }

    fn decimal(&mut self, number: u64) {
        self.head.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    fn hexadecimal(&mut self, number: usize) {
        let digits = number.checked_ilog(16).unwrap_or(0);
        for place in (0..=digits).rev() {
            let digit = (number >> (4 * place)) & 0xf;
            self.head.extend(b"0123456789abcdef".get(digit));
        }
    }
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answering {
    /// The client's.
    pub(super) version: Version,
    /// `None` for one that has no body at all.
    pub(super) framing: Option<Framing>,
    /// Whether the connection is used again.
    pub(super) is_kept: bool,
    /// How much of the body is put behind the head.
    pub(super) copied: u64,
}

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// About the bytes of a request beside its fields, its target and its body.
const REQUEST_LINE: usize = 32;

/// About the bytes of an answer beside its fields and its body: status, date, length.
const STATUS_LINE: usize = 128;

fn copied(body: &Bytes) -> usize {
    if body.len() <= COPIED_MAX { body.len() } else { 0 }
}

fn bytes_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}
