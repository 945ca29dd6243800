//! The service: which connection a call goes over, and what becomes of it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Extensions, Request, Response, Uri, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::middleware::{CallDeadline, UpstreamError, clock};
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::session::Profile;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::Service;

use super::body::PooledBody;
use super::connection::Connection;
use super::exchange::{Exchange, outlives_its_client};
use super::headers::{join_cookies, strip_hop_by_hop};
use super::options::HttpOptions;
use super::pool::{Pool, Pools};
use super::quirks;
use super::slots::Slot;

/// A node and the connections to it. Pools made with [`HttpUpstream::another_pool`] share the bounds.
#[derive(Clone, Debug)]
pub struct HttpUpstream(Arc<Local>);

/// What the calls of one runtime share. Each counts itself in and out here, on its own core.
#[derive(Debug)]
struct Local {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Shared {
    options: HttpOptions,
    host: HeaderValue,
    target: Uri,
    pools: Arc<Pools>,
}

/// What a connection is for.
#[derive(Clone, Copy)]
enum Purpose {
    Call,
    /// A stream that lasts as long as the client likes.
    Listening,
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
        let pools = Pools::new(options.connections_max, options.idle_timeout);
        let pool = pools.add();
        Ok(Self(Arc::new(Local { shared: Arc::new(Shared { options, host, target, pools }), pool })))
    }

    /// The same node with a pool for another runtime.
    #[must_use]
    pub fn another_pool(&self) -> Self {
        let shared = Arc::clone(&self.0.shared);
        Self(Arc::new(Local { pool: shared.pools.add(), shared }))
    }

    async fn exchange(self, request: Request<Full<Bytes>>) -> Result<Response<PooledBody>, UpstreamError> {
        let call = request.extensions().get::<Arc<Call>>();
        let purpose = call.map_or(Purpose::Call, |call| Purpose::of(call));
        let limit = time_limit(request.extensions(), self.0.shared.options.first_byte_timeout);
        let profile = self.0.shared.options.profile;
        let request = if profile == Profile::Standard { request } else { quirks::to_node(profile, request).await? };
        let mut request = self.outgoing(request);
        loop {
            let (mut connection, is_kept) = self.connection(purpose).await?;
            match send(&mut connection, request, limit).await {
                Ok(response) => return Ok(self.hand_out(connection, response)),
                // A kept connection may have been closed by the node; whatever was not sent goes to the next one.
                Err(Unsent::Request(unsent)) if is_kept => request = *unsent,
                Err(Unsent::Request(_)) => {
                    return Err(UpstreamError::Unavailable("it closed the connection".into()));
                }
                Err(Unsent::Nothing(error)) => return Err(error),
            }
        }
    }

    /// The request as the node sees it.
    fn outgoing(&self, mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
        *request.uri_mut() = self.0.shared.target.clone();
        *request.version_mut() = Version::HTTP_11;
        strip_hop_by_hop(request.headers_mut());
        join_cookies(request.headers_mut());
        request.headers_mut().insert(header::HOST, self.0.shared.host.clone());
        *request.extensions_mut() = http::Extensions::new();
        request
    }

    /// A connection with a place of its kind, and whether it was kept from an earlier call.
    async fn connection(&self, purpose: Purpose) -> Result<(Connection, bool), UpstreamError> {
        let own_place = match purpose {
            Purpose::Call => None,
            Purpose::Listening => Some(self.0.shared.pools.place_for_stream().ok_or_else(|| self.full(purpose))?),
        };
        if let Some(mut connection) = self.0.pool.take().await {
            if let Some(place) = own_place {
                connection.slot = place;
            }
            return Ok((connection, true));
        }
        let place = own_place.or_else(|| self.0.shared.pools.place_for_call()).ok_or_else(|| self.full(purpose))?;
        Ok((self.connect(place).await?, false))
    }

    /// The refusal at a bound of the guard's own, which says nothing about the node.
    fn full(&self, purpose: Purpose) -> UpstreamError {
        let what = match purpose {
            Purpose::Call => "connections",
            Purpose::Listening => "connections for streams",
        };
        let detail = format!("all {} {what} are in use", self.0.shared.pools.places());
        UpstreamError::Refused(Box::new(Refusal::new(Reason::UpstreamUnavailable, detail).retry_after(WAIT)))
    }

    async fn connect(&self, place: Slot) -> Result<Connection, UpstreamError> {
        let options = &self.0.shared.options;
        let unavailable = |text: String| UpstreamError::Unavailable(text);
        let stream = match timeout(options.connect_timeout, TcpStream::connect(&options.authority)).await {
            Err(_) => return Err(unavailable(format!("no connection within {:?}", options.connect_timeout))),
            Ok(Err(error)) => return Err(unavailable(format!("no connection: {}", error.kind()))),
            Ok(Ok(stream)) => stream,
        };
        // A call is one write; waiting for more to come would only delay it.
        stream.set_nodelay(true).map_err(|error| unavailable(error.to_string()))?;
        Connection::over(stream, place).await.map_err(|error| unavailable(error.to_string()))
    }

    fn hand_out(&self, connection: Connection, response: Response<Incoming>) -> Response<PooledBody> {
        let (mut head, body) = response.into_parts();
        strip_hop_by_hop(&mut head.headers);
        head.version = Version::HTTP_11;
        Response::from_parts(head, PooledBody::new(body, connection, Arc::clone(&self.0.pool)))
    }

    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.0.pool.len()
    }
}

/// When to try again at a bound: calls and streams end all the time.
const WAIT: Duration = Duration::from_secs(1);

impl Purpose {
    fn of(call: &Call) -> Self {
        match call.kind {
            Kind::Listen => Self::Listening,
            Kind::Request if call.method.is(Method::SUBSCRIPTIONS_LISTEN) => Self::Listening,
            Kind::Request | Kind::Notification | Kind::Response | Kind::End => Self::Call,
        }
    }
}

/// What is left when a request could not be sent.
enum Unsent {
    /// Nothing was written: the request may be sent again.
    Request(Box<Request<Full<Bytes>>>),
    /// Something was, or may have been.
    Nothing(UpstreamError),
}

async fn send(
    connection: &mut Connection,
    request: Request<Full<Bytes>>,
    limit: Option<Duration>,
) -> Result<Response<Incoming>, Unsent> {
    let answer = connection.send(request);
    let answer = match limit {
        None => answer.await,
        Some(limit) => timeout(limit, answer).await.map_err(|_| Unsent::Nothing(UpstreamError::TimedOut(limit)))?,
    };
    answer.map_err(|mut error| match error.take_message() {
        Some(request) => Unsent::Request(Box::new(request)),
        None => Unsent::Nothing(UpstreamError::Failed(error.into_error().to_string())),
    })
}

/// How long the head of the answer may take; `None` where the guard keeps the time itself.
fn time_limit(extensions: &Extensions, otherwise: Duration) -> Option<Duration> {
    extensions.get::<CallDeadline>().is_none().then_some(otherwise)
}

impl Service<Request<Full<Bytes>>> for HttpUpstream {
    type Response = Response<PooledBody>;
    type Error = UpstreamError;
    type Future = Exchange;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let call = request.extensions().get::<Arc<Call>>();
        let goes_on_until = call.is_some_and(|call| outlives_its_client(call)).then(|| {
            let limit = self.0.shared.options.first_byte_timeout;
            request.extensions().get::<CallDeadline>().map_or_else(|| clock::now() + limit, |deadline| deadline.0)
        });
        Exchange::new(Box::pin(self.clone().exchange(request)), goes_on_until)
    }
}
