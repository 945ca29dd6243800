//! An upstream that speaks Streamable HTTP in plain text.
//!
//! Each of the host's runtimes has a pool of its own, so that a call never crosses threads: connection, call and
//! answer stay on one core. The connections of all pools together are bounded.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, Uri, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use mcp_guard::middleware::UpstreamError;
use mcp_guard::middleware::clock;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

/// What is known about a node.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Host and port, for the connection and for `Host`.
    pub authority: String,
    /// The path of its MCP endpoint.
    pub path: String,
    /// Most connections, those of all pools together.
    pub connections_max: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the head of an answer may take.
    pub first_byte_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
}

/// A node and the connections to it. Pools made with [`HttpUpstream::another_pool`] share the bound.
#[derive(Clone, Debug)]
pub struct HttpUpstream {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Shared {
    options: HttpOptions,
    host: HeaderValue,
    target: Uri,
    open: AtomicUsize,
}

/// Idle connections, the last used first.
#[derive(Debug, Default)]
struct Pool(Mutex<VecDeque<Idle>>);

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection, counted while it lives.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    _slot: Slot,
}

#[derive(Debug)]
struct Slot(Arc<Shared>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HttpUpstream {
    /// A node with an empty pool.
    ///
    /// # Errors
    ///
    /// If authority or path cannot stand in a request.
    pub fn new(options: HttpOptions) -> Result<Self, http::Error> {
        let host = HeaderValue::try_from(&options.authority)?;
        let target = Uri::try_from(&options.path)?;
        let shared = Arc::new(Shared { options, host, target, open: AtomicUsize::new(0) });
        Ok(Self { shared, pool: Arc::default() })
    }

    /// The same node with a pool for another runtime.
    #[must_use]
    pub fn another_pool(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), pool: Arc::default() }
    }

    async fn exchange(self, request: Request<Full<Bytes>>) -> Result<Response<PooledBody>, UpstreamError> {
        let mut request = self.outgoing(request);
        // A kept connection may have been closed by the node; whatever was not sent goes to the next one.
        while let Some(mut connection) = self.take_idle().await {
            match self.send(&mut connection, request).await {
                Ok(response) => return Ok(self.hand_out(connection, response)),
                Err(Unsent::Request(unsent)) => request = *unsent,
                Err(Unsent::Nothing(error)) => return Err(error),
            }
        }
        let mut connection = self.connect().await?;
        match self.send(&mut connection, request).await {
            Ok(response) => Ok(self.hand_out(connection, response)),
            Err(Unsent::Request(_)) => Err(UpstreamError::Unavailable("it closed the connection".into())),
            Err(Unsent::Nothing(error)) => Err(error),
        }
    }

    /// The request as the node sees it.
    fn outgoing(&self, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
        *request.uri_mut() = self.shared.target.clone();
        *request.version_mut() = Version::HTTP_11;
        strip_hop_by_hop(request.headers_mut());
        request.headers_mut().insert(header::HOST, self.shared.host.clone());
        *request.extensions_mut() = http::Extensions::new();
        request
    }

    async fn send(
        &self,
        connection: &mut Connection,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Unsent> {
        let limit = self.shared.options.first_byte_timeout;
        match timeout(limit, connection.sender.try_send_request(request)).await {
            Err(_) => Err(Unsent::Nothing(UpstreamError::TimedOut(limit))),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut error)) => Err(match error.take_message() {
                Some(request) => Unsent::Request(Box::new(request)),
                None => Unsent::Nothing(UpstreamError::Failed(error.into_error().to_string())),
            }),
        }
    }

    /// A kept connection that is still open.
    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let Idle { mut connection, since } = self.pool.lock().pop_back()?;
            let fresh = clock::now().duration_since(since) < self.shared.options.idle_timeout;
            if fresh && !connection.sender.is_closed() && connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<Connection, UpstreamError> {
        let options = &self.shared.options;
        let unavailable = |text: String| UpstreamError::Unavailable(text);
        let slot = self.reserve()?;
        let stream = match timeout(options.connect_timeout, TcpStream::connect(&options.authority)).await {
            Err(_) => return Err(unavailable(format!("no connection within {:?}", options.connect_timeout))),
            Ok(Err(error)) => return Err(unavailable(format!("no connection: {}", error.kind()))),
            Ok(Ok(stream)) => stream,
        };
        // A call is one write; waiting for more to come would only delay it.
        stream.set_nodelay(true).map_err(|error| unavailable(error.to_string()))?;
        let (sender, driver) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| unavailable(error.to_string()))?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        Ok(Connection { sender, _slot: slot })
    }

    fn reserve(&self) -> Result<Slot, UpstreamError> {
        let limit = self.shared.options.connections_max;
        let slot = Slot(Arc::clone(&self.shared));
        // The slot counts itself down again if it is refused.
        if self.shared.open.fetch_add(1, Ordering::Relaxed) >= limit {
            return Err(UpstreamError::Unavailable(format!("all {limit} connections are in use")));
        }
        Ok(slot)
    }

    fn hand_out(&self, connection: Connection, response: Response<Incoming>) -> Response<PooledBody> {
        let (mut head, body) = response.into_parts();
        strip_hop_by_hop(&mut head.headers);
        head.version = Version::HTTP_11;
        let mut body = PooledBody { body, lease: Some((connection, Arc::clone(&self.pool))) };
        if body.body.is_end_stream() {
            body.give_back();
        }
        Response::from_parts(head, body)
    }
}

/// What is left when a request could not be sent.
enum Unsent {
    /// Nothing was written: the request may be sent again.
    Request(Box<Request<Full<Bytes>>>),
    /// Something was, or may have been.
    Nothing(UpstreamError),
}

impl Service<Request<Full<Bytes>>> for HttpUpstream {
    type Response = Response<PooledBody>;
    type Error = UpstreamError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, UpstreamError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        Box::pin(self.clone().exchange(request))
    }
}

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Idle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that gives its connection back when it was read to the end.
#[derive(Debug)]
pub struct PooledBody {
    body: Incoming,
    lease: Option<(Connection, Arc<Pool>)>,
}

impl PooledBody {
    fn give_back(&mut self) {
        if let Some((connection, pool)) = self.lease.take() {
            pool.lock().push_back(Idle { connection, since: clock::now() });
        }
    }
}

impl Body for PooledBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
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

/// Removes what concerns only the one connection (RFC 9110, section 7.6.1).
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if let Some(named) = headers.get(header::CONNECTION).cloned() {
        for name in named.to_str().unwrap_or_default().split(',') {
            if let Ok(name) = HeaderName::try_from(name.trim()) {
                headers.remove(name);
            }
        }
        headers.remove(header::CONNECTION);
    }
    // Most messages have none of them, and looking costs less than removing.
    if headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        for name in HOP_BY_HOP {
            headers.remove(name);
        }
    }
}

const HOP_BY_HOP: [HeaderName; 7] = [
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
