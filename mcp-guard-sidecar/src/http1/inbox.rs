//! What has come and was not asked for yet.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::poll_read_buf;

/// What was read in vain. It holds no more than that: empty, nothing.
#[derive(Debug, Default)]
pub(crate) struct Inbox(pub(crate) Bytes);

/// Read at once, on the stack: most messages are smaller.
const READ: usize = 16 * 1024;

/// Read at once if so much is known to come.
const READ_LARGE: usize = 128 * 1024;

impl Inbox {
    /// Reads more, of which `expected` bytes are known to come; 0 bytes is the end.
    pub(crate) fn poll_more<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        expected: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if expected > READ as u64 && self.0.is_empty() {
            return self.poll_large(io, expected, cx);
        }
        let mut buffer = [MaybeUninit::uninit(); READ];
        let mut buffer = ReadBuf::uninit(&mut buffer);
        ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
        self.append(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_large<S: AsyncRead + Unpin>(
        &mut self,
        io: &mut S,
        expected: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let capacity = usize::try_from(expected).map_or(READ_LARGE, |expected| expected.min(READ_LARGE));
        let mut buffer = BytesMut::with_capacity(capacity);
        let read = ready!(poll_read_buf(Pin::new(io), cx, &mut buffer))?;
        self.0 = buffer.freeze();
        Poll::Ready(Ok(read))
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.0.is_empty() {
            self.0 = Bytes::copy_from_slice(bytes);
            return;
        }
        let mut all = std::mem::take(&mut self.0).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        all.extend_from_slice(bytes);
        self.0 = all.freeze();
    }
}
