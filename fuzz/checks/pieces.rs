//! Bytes that come as a network brings them: in pieces, and not at once.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};

/// Some bytes, in pieces whose lengths come again and again.
pub(crate) struct Pieces<'a> {
    /// What was not read.
    pub(crate) left: &'a [u8],
    lengths: Vec<usize>,
    /// How many came.
    count: usize,
    is_awaited: bool,
}

impl<'a> Pieces<'a> {
    pub(crate) fn of(bytes: &'a [u8], lengths: &[u8]) -> Self {
        let lengths = lengths.iter().map(|length| usize::from(*length).max(1)).collect();
        Self { left: bytes, lengths, count: 0, is_awaited: false }
    }
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.is_awaited = !self.is_awaited;
        if self.is_awaited {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = self.lengths.get(self.count % self.lengths.len().max(1)).copied();
        let length = length.unwrap_or(usize::MAX).min(buffer.remaining()).min(self.left.len());
        let (piece, rest) = self.left.split_at(length);
        buffer.put_slice(piece);
        (self.left, self.count) = (rest, self.count + 1);
        Poll::Ready(Ok(()))
    }
}

/// What becomes of `future`, which waits for nothing but bytes that are there.
pub(crate) fn done<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
            return done;
        }
    }
}
