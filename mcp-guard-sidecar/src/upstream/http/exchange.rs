//! The future of one exchange with the node, and what becomes of it when the client leaves.
//!
//! Up to 2025-11-25 a client that leaves has not cancelled its call: it says so with `notifications/cancelled` if it
//! means that. A node whose framework ends a handler with its connection would cut such a call short, so the exchange
//! goes on without the client until the answer has come, and no longer than the call would have had. Once a stream has
//! begun it is the node's to carry on, and the connection is closed: the client may ask for the rest of it elsewhere,
//! which some nodes refuse while the first connection is open. From 2026-07-28 on leaving is cancelling.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::Response;
use http_body_util::BodyExt;
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::middleware::headers::is_event_stream;
use mcp_guard::middleware::{UpstreamError, clock};
use tokio::runtime::Handle;

use super::body::PooledBody;

type Answer = Result<Response<PooledBody>, UpstreamError>;
type Boxed = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// An exchange with the node.
pub struct Exchange {
    /// `None` once it has ended.
    future: Option<Boxed>,
    /// Until when it goes on if it is dropped.
    goes_on_until: Option<Instant>,
}

impl Exchange {
    pub(super) fn new(future: Boxed, goes_on_until: Option<Instant>) -> Self {
        Self { future: Some(future), goes_on_until }
    }
}

impl Future for Exchange {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let answer = ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(answer)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let (Some(future), Some(until)) = (self.future.take(), self.goes_on_until) else { return };
        let left = until.saturating_duration_since(clock::now());
        // Without a runtime the program is ending.
        if let (false, Ok(runtime)) = (left.is_zero(), Handle::try_current()) {
            runtime.spawn(finish(future, left));
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("goes_on_until", &self.goes_on_until).finish_non_exhaustive()
    }
}

/// Whether `call` is not cancelled by a client that leaves.
pub(super) fn outlives_its_client(call: &Call) -> bool {
    match call.kind {
        Kind::Listen => false,
        Kind::Request | Kind::Notification | Kind::Response | Kind::End => {
            !call.revision.is_stateless() && !call.method.is(Method::SUBSCRIPTIONS_LISTEN)
        }
    }
}

/// Waits for the answer that nobody gets, so that the connection can be used again.
async fn finish(future: Boxed, left: Duration) {
    let read = async {
        let Ok(response) = future.await else { return };
        if !is_event_stream(response.headers()) {
            let mut body = response.into_body();
            while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
        }
    };
    // What takes longer is closed with its connection.
    let _ = tokio::time::timeout(left, read).await;
}
