//! The body of an answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Connection;
use super::pool::Pool;

/// An answer that gives its connection back when it was read to the end.
#[derive(Debug)]
pub struct PooledBody {
    body: Incoming,
    lease: Option<(Connection, Arc<Pool>)>,
}

impl PooledBody {
    /// The rest of an answer that comes over `connection`, which goes to `pool` then.
    pub(super) fn new(body: Incoming, connection: Connection, pool: Arc<Pool>) -> Self {
        let mut body = Self { body, lease: Some((connection, pool)) };
        if body.body.is_end_stream() {
            body.give_back();
        }
        body
    }

    /// What has come so far.
    fn poll_received(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn give_back(&mut self) {
        if let Some((connection, pool)) = self.lease.take() {
            pool.give_back(connection);
        }
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = match self.poll_received(cx) {
            Poll::Pending => {
                if let Some((connection, _)) = &mut self.lease {
                    connection.progress(cx);
                }
                ready!(self.poll_received(cx))
            }
            Poll::Ready(frame) => frame,
        };
        match &frame {
            None => self.give_back(),
            Some(Ok(_)) if self.body.is_end_stream() => self.give_back(),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.lease = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
