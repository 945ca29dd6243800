//! How long a connection may be silent that hyper serves: HTTP/2, and the admin endpoints.
//!
//! Hyper has a time-out for the head of an HTTP/1 request alone. It does not run while hyper still waits for the bytes
//! that tell HTTP/1 from HTTP/2, HTTP/2 has none, and between two requests it is the keep-alive limit too. So the guard
//! counts the requests of each connection itself, by the rules that `http1/server.rs` has too.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::server::graceful::GracefulConnection;
use mcp_guard::middleware::clock;
use tokio::sync::Notify;

use crate::watched::Watched;

/// How long a connection may have no request.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// Until the head of the first request has come.
    pub first: Duration,
    /// From the end of an answer until the head of the next request has come.
    pub between: Duration,
}

/// What one connection's client asks for now. Clones are the same connection.
#[derive(Clone, Debug)]
pub(crate) struct Activity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    has_begun: Notify,
}

#[derive(Debug)]
struct State {
    in_flight: usize,
    /// Whether a request has come.
    has_asked: bool,
    /// When the connection was accepted, or the last answer ended.
    silent_since: Instant,
    /// Streams that have begun.
    streams: Vec<Arc<Handed>>,
}

/// Since when the client of a stream could take what it was sent last; `None` once it has.
type Handed = Mutex<Option<Instant>>;

impl Activity {
    /// A connection that was just accepted.
    pub(crate) fn new() -> Self {
        Self::since(clock::now())
    }

    /// A connection that was accepted then.
    pub(crate) fn since(accepted: Instant) -> Self {
        let state = State { in_flight: 0, has_asked: false, silent_since: accepted, streams: Vec::new() };
        Self(Arc::new(Shared { state: Mutex::new(state), has_begun: Notify::new() }))
    }

    /// Counts requests of `service` until their answers have ended.
    pub(crate) fn track<S>(&self, service: S) -> Tracked<S> {
        Tracked { service, activity: self.clone() }
    }

    /// Waits until the first request has come.
    pub(crate) async fn has_begun(&self) {
        self.0.has_begun.notified().await;
    }

    /// Waits until the connection has been silent for longer than it may be.
    ///
    /// Requests cost it nothing: it looks at the time only when one that was still silent would have to end.
    pub(crate) async fn silent(&self, silence: Silence) {
        while let Some(wait) = self.remaining(silence, clock::now()) {
            tokio::time::sleep(wait).await;
        }
    }

    fn remaining(&self, silence: Silence, now: Instant) -> Option<Duration> {
        let state = self.lock();
        let limit = if state.has_asked { silence.between } else { silence.first };
        let since = if state.in_flight > 0 { state.stalled_since() } else { Some(state.silent_since) };
        let left = since.map_or(limit, |since| limit.saturating_sub(now.saturating_duration_since(since)));
        (!left.is_zero()).then_some(left)
    }

    /// Whether nothing is left that is worth waiting for.
    fn is_over(&self, silence: Silence) -> bool {
        self.lock().in_flight == 0 || self.remaining(silence, clock::now()).is_none()
    }

    /// A stream has begun, and its first part was handed out.
    fn stream(&self) -> Arc<Handed> {
        let handed = Arc::new(Mutex::new(Some(clock::now())));
        self.lock().streams.push(Arc::clone(&handed));
        handed
    }

    fn ask(&self) -> Asked {
        let is_first = {
            let mut state = self.lock();
            state.in_flight += 1;
            !std::mem::replace(&mut state.has_asked, true)
        };
        if is_first {
            self.0.has_begun.notify_one();
        }
        Asked(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl State {
    /// Since when the client has not taken a part of a stream, the longest such time.
    fn stalled_since(&self) -> Option<Instant> {
        self.streams.iter().filter_map(|handed| *lock(handed)).min()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves a connection until it ends, is silent for too long, or `ends` comes. Then it takes no more requests and
/// answers those that it has.
pub(crate) fn serve<C>(
    connection: C,
    activity: Activity,
    silence: Silence,
    ends: impl Future<Output = ()> + Send,
) -> impl Future<Output = Result<(), C::Error>> + Send
where
    C: GracefulConnection + Send + 'static,
    C::Error: Send,
{
    let mut connection = Box::pin(connection);
    async move {
        let mut over = Watched::new(async {
            tokio::select! {
                biased;
                () = activity.silent(silence) => {}
                () = ends => {}
            }
        });
        let ended = std::future::poll_fn(|cx| match connection.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if over.has_come(cx) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        if let Some(result) = ended.await {
            return result;
        }
        connection.as_mut().graceful_shutdown();
        loop {
            tokio::select! {
                biased;
                result = connection.as_mut() => return result,
                () = tokio::time::sleep(CLOSING) => {}
            }
            if activity.is_over(silence) {
                return Ok(());
            }
        }
    }
}

/// How long a client may take to close a connection that is over.
const CLOSING: Duration = Duration::from_secs(1);

/// A request that is worked on, until its answer has ended.
#[derive(Debug)]
pub(crate) struct Asked(Activity);

impl Drop for Asked {
    fn drop(&mut self) {
        let now = clock::now();
        let mut state = self.0.lock();
        state.in_flight = state.in_flight.saturating_sub(1);
        state.silent_since = now;
    }
}

/// A service whose requests count as activity.
#[derive(Clone, Debug)]
pub(crate) struct Tracked<S> {
    service: S,
    activity: Activity,
}

impl<S, B> Service<Request<Incoming>> for Tracked<S>
where
    S: Service<Request<Incoming>, Response = Response<B>>,
    S::Future: Unpin,
{
    type Response = Response<TrackedBody<B>>;
    type Error = S::Error;
    type Future = TrackedFuture<S::Future>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let asked = Some(self.activity.ask());
        TrackedFuture { future: self.service.call(request), asked }
    }
}

/// A request of a [`Tracked`] service.
#[derive(Debug)]
pub(crate) struct TrackedFuture<F> {
    future: F,
    asked: Option<Asked>,
}

impl<F, B, E> Future for TrackedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>> + Unpin,
{
    type Output = Result<Response<TrackedBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.future).poll(cx));
        let asked = self.asked.take();
        Poll::Ready(result.map(|response| response.map(|body| TrackedBody { body, handed: None, asked })))
    }
}

/// An answer of a [`Tracked`] service.
#[derive(Debug)]
pub(crate) struct TrackedBody<B> {
    body: B,
    /// For a stream that has begun.
    handed: Option<Arc<Handed>>,
    asked: Option<Asked>,
}

impl<B> TrackedBody<B> {
    /// A part that is not the last was handed out: whether the client takes it shows when the next is asked for.
    fn handed_out(&mut self) {
        match (&self.handed, &self.asked) {
            (Some(handed), _) => *lock(handed) = Some(clock::now()),
            (None, Some(asked)) => self.handed = Some(asked.0.stream()),
            (None, None) => {}
        }
    }
}

impl<B> Drop for TrackedBody<B> {
    fn drop(&mut self) {
        if let (Some(handed), Some(asked)) = (&self.handed, &self.asked) {
            asked.0.lock().streams.retain(|other| !Arc::ptr_eq(other, handed));
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for TrackedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(handed) = &self.handed {
            *lock(handed) = None;
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(Some(Ok(_)))) && !self.body.is_end_stream() {
            self.handed_out();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[path = "activity_tests.rs"]
mod tests;
