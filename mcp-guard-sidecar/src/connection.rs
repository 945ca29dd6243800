//! One accepted stream, served by hyper with the guard stack.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use mcp_guard::middleware::Client;
use mcp_guard::refusal::{Reason, Refusal};
use metrics::{counter, gauge};
use pin_project_lite::pin_project;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tower::Service;

use crate::drain::{Drain, Ticket};

/// How many connections there may be, counted over all listeners and cores.
#[derive(Clone, Debug)]
pub struct Connections {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    drain: Drain,
    max: usize,
    per_client_max: usize,
}

impl Connections {
    /// At most `max` connections, `per_client_max` of one address. The table of addresses is bounded by `max` too.
    pub fn new(drain: Drain, max: usize, per_client_max: usize) -> Self {
        Self { counts: Arc::default(), drain, max, per_client_max }
    }

    fn admit(&self, client: IpAddr) -> Option<Admission> {
        if self.drain.connections() >= self.max {
            return None;
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= self.per_client_max {
            return None;
        }
        *count += 1;
        gauge!("mcp_guard_connections").increment(1.0);
        Some(Admission { connections: self.clone(), client, _ticket: self.drain.connection() })
    }
}

/// A connection that was let in.
struct Admission {
    connections: Connections,
    client: IpAddr,
    _ticket: Ticket,
}

impl Drop for Admission {
    fn drop(&mut self) {
        gauge!("mcp_guard_connections").decrement(1.0);
        let mut counts = self.connections.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// Serves connections with `service`.
pub struct GuardApp<S> {
    service: S,
    builder: auto::Builder<TokioExecutor>,
    connections: Connections,
    beats: Once,
}

impl<S> GuardApp<S> {
    /// Heads of requests must come within `header_timeout`.
    pub fn new(service: S, connections: Connections, header_timeout: Duration) -> Self {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
        Self { service, builder, connections, beats: Once::new() }
    }
}

/// Keeps an alarm of the runtime's near.
///
/// Each call sets alarms of some seconds. One that comes before all others makes tokio write to its own wake-up
/// descriptor, also from the thread that would be woken: a system call and an empty turn, nearly every call of a guard
/// with little to do. A beat is always due first.
async fn beat() {
    loop {
        tokio::time::sleep(BEAT).await;
    }
}

/// Shorter than what calls wait for, and too long to keep a core awake.
const BEAT: Duration = Duration::from_secs(1);

/// HTTP/2 streams of one connection; RFC 9113 advises no fewer than 100.
const STREAMS_MAX: u32 = 128;

impl<S> fmt::Debug for GuardApp<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardApp").field("connections", &self.connections).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl<S, B> ServerApp for GuardApp<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn process_new(self: &Arc<Self>, stream: Stream, _: &ShutdownWatch) -> Option<Stream> {
        self.beats.call_once(|| drop(tokio::spawn(beat())));
        let peer = stream.get_socket_digest().and_then(|digest| digest.peer_addr()?.as_inet().map(|a| a.ip()));
        let client = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let admission = self.connections.admit(client);
        if admission.is_none() {
            counter!("mcp_guard_refusals_total", "reason" => Reason::TooManyConnections.as_str()).increment(1);
        }
        let served = Served {
            service: self.service.clone(),
            client,
            drain: self.connections.drain.clone(),
            refuse: admission.is_none(),
        };
        let connection = self.builder.serve_connection(TokioIo::new(stream), served);
        let mut connection = std::pin::pin!(connection);
        // A connection that came too late stays open for the one answer that says so.
        let turned_away = self.connections.drain.is_draining();
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.connections.drain.begun(), if !turned_away => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, %client, "connection ended");
        }
        None
    }
}

/// What one connection's requests go through before the stack.
struct Served<S> {
    service: S,
    client: IpAddr,
    drain: Drain,
    refuse: bool,
}

impl<S, B> hyper::service::Service<Request<Incoming>> for Served<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = Response<DrainedBody<B>>;
    type Error = Infallible;
    type Future = Serving<S::Future, B>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if self.refuse || self.drain.is_draining() {
            return Serving::TurnedAway { response: Some(turned_away(self.refuse)) };
        }
        request.extensions_mut().insert(Client(self.client));
        let listens = request.method() == Method::GET;
        let drain = listens.then(|| self.drain.clone());
        Serving::Called { answer: self.service.clone().call(request), drain }
    }
}

pin_project! {
    /// A request on its way: a future of its own, so that no call pays for a box here.
    #[project = ServingState]
    enum Serving<F, B> {
        /// The host's own answer.
        TurnedAway { response: Option<Response<DrainedBody<B>>> },
        /// The stack's.
        Called {
            #[pin]
            answer: F,
            drain: Option<Drain>,
        },
    }
}

impl<F, B> Future for Serving<F, B>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<DrainedBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ServingState::TurnedAway { response } => {
                response.take().map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)))
            }
            ServingState::Called { answer, drain } => answer.poll(cx).map_ok(|response| {
                let drain = drain.take().map(ends);
                response.map(|body| DrainedBody { origin: Origin::Stack { body, drain } })
            }),
        }
    }
}

fn ends(drain: Drain) -> Ends {
    Box::pin(async move { drain.begun().await })
}

/// The answer on a connection that is one too many, or that was accepted while draining.
fn turned_away<B>(too_many: bool) -> Response<DrainedBody<B>> {
    let refusal = if too_many {
        Refusal::new(Reason::TooManyConnections, "close some, or come back later")
    } else {
        Refusal::new(Reason::Draining, "another node serves you")
    };
    let refusal = refusal.retry_after(Duration::from_secs(1));
    let body = refusal.body(None).unwrap_or_default();
    let mut response = Response::new(DrainedBody { origin: Origin::Host { body: Full::from(body) } });
    *response.status_mut() =
        if too_many { http::StatusCode::TOO_MANY_REQUESTS } else { http::StatusCode::SERVICE_UNAVAILABLE };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

type Ends = Pin<Box<dyn Future<Output = ()> + Send>>;

pin_project! {
    /// A body that ends when the guard drains, if it is a stream that would never end by itself.
    pub struct DrainedBody<B> {
        #[pin]
        origin: Origin<B>,
    }
}

pin_project! {
    #[project = OriginState]
    enum Origin<B> {
        /// A refusal of the host's own.
        Host { body: Full<Bytes> },
        /// An answer of the stack's, and when it has to end.
        Stack {
            #[pin]
            body: B,
            drain: Option<Ends>,
        },
    }
}

impl<B> fmt::Debug for DrainedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DrainedBody")
    }
}

impl<B: Body<Data = Bytes>> Body for DrainedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().origin.project() {
            OriginState::Host { body } => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            OriginState::Stack { body, drain } => {
                let frame = body.poll_frame(cx);
                let over = frame.is_pending() && drain.as_mut().is_some_and(|ends| ends.as_mut().poll(cx).is_ready());
                if over { Poll::Ready(None) } else { frame }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.origin {
            Origin::Host { body } => body.is_end_stream(),
            Origin::Stack { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.origin {
            Origin::Host { body } => body.size_hint(),
            Origin::Stack { body, .. } => body.size_hint(),
        }
    }
}
