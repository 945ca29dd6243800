//! The body of an answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::connection::Connection;
use super::pool::Pool;
use crate::http1::Http1Error;

/// An answer that gives its connection back when it was read to the end.
#[derive(Debug)]
pub struct PooledBody {
    /// What had come when the answer began.
    first: Bytes,
    /// Where the rest comes from.
    lease: Option<(Connection, Arc<Pool>)>,
}

impl PooledBody {
    /// The rest of an answer that comes over `connection`, which goes to `pool` then.
    ///
    /// # Errors
    ///
    /// If what has come is no such body.
    pub(super) fn new(mut connection: Connection, pool: Arc<Pool>) -> Result<Self, Http1Error> {
        let first = connection.received()?.unwrap_or_default();
        let mut body = Self { first, lease: Some((connection, pool)) };
        body.give_back_if_over();
        Ok(body)
    }

    fn give_back_if_over(&mut self) {
        let is_over = |(connection, _): &mut (Connection, Arc<Pool>)| connection.missing() == Some(0);
        if let Some((connection, pool)) = self.lease.take_if(is_over)
            && connection.is_reusable()
        {
            pool.give_back(connection);
        }
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = Http1Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        let Some((connection, _)) = &mut self.lease else { return Poll::Ready(None) };
        let part = ready!(connection.poll_body(cx));
        match &part {
            Some(Ok(_)) => self.give_back_if_over(),
            None => {
                self.give_back_if_over();
                self.lease = None;
            }
            Some(Err(_)) => self.lease = None,
        }
        Poll::Ready(part.map(|part| part.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.lease.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let missing = self.lease.as_ref().map_or(Some(0), |(connection, _)| connection.missing());
        missing.map_or_else(SizeHint::new, |missing| SizeHint::with_exact(missing + self.first.len() as u64))
    }
}
