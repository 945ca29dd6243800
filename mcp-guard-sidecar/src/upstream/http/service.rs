//! The service: which connection a call goes over, and what becomes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Extensions, Response, Uri, Version};
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::middleware::{McpRequest, Upstream, UpstreamError, clock, frame_whole};
use mcp_guard::refusal::{Reason, Refusal};
use tokio::time::{timeout, timeout_at};

use super::body::PooledBody;
use super::connection::{Connection, SendError};
use super::exchange::{Exchange, outlives_its_client};
use super::headers::{join_cookies, strip_hop_by_hop};
use super::options::HttpOptions;
use super::pool::{Pool, Pools};
use super::quirks;
use super::slots::Slot;
use crate::upstream::dial::why;

/// A node and the connections to it. Pools made with [`HttpUpstream::another_pool`] share the bounds.
#[derive(Clone, Debug)]
pub struct HttpUpstream(Arc<Local>);

type Answer = Result<Response<PooledBody>, UpstreamError>;

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
        let host = HeaderValue::try_from(options.dialer.authority())?;
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

    /// Whether `other` is the same node, with the same pool or another.
    pub(crate) fn is_same_node(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0.shared, &other.0.shared)
    }

    /// Sends a message, by this pool also if nobody else has it any more.
    pub(crate) fn call(&self, request: McpRequest) -> impl Future<Output = Answer> + Send + use<> {
        let goes_on_until = outlives_its_client(&request.call)
            .then(|| request.deadline.unwrap_or_else(|| clock::now() + self.0.shared.options.first_byte_timeout));
        Exchange::new(Box::pin(self.clone().exchange(request)), goes_on_until)
    }

    async fn exchange(self, mut request: McpRequest) -> Answer {
        let options = &self.0.shared.options;
        quirks::to_node(options.profile, &mut request)?;
        let McpRequest { head, body, call, now, deadline, .. } = request;
        // Where there is a deadline, the guard keeps it.
        let limit = deadline.is_none().then_some(options.first_byte_timeout);
        let (purpose, patience) = (Purpose::of(&call), now + self.patience(&call));
        let mut head = Arc::unwrap_or_clone(head);
        // Nothing for the node, and wanted back with what was not sent.
        let extensions = std::mem::take(&mut head.extensions);
        let head = self.outgoing(head, body.len());
        loop {
            let (mut connection, is_kept) = match self.connection(purpose, now, patience).await {
                Ok(connection) => connection,
                Err(UpstreamError::Unavailable(detail)) => return Err(unsent(detail, head, extensions, body, call)),
                Err(error) => return Err(error),
            };
            match send(&mut connection, &head, &body, limit).await {
                Ok(response) => return self.hand_out(connection, response),
                // A kept connection may have been closed by the node; whatever was not sent goes to the next one.
                Err(Failure::Send(SendError::Unsent(_))) if is_kept => {}
                Err(Failure::Send(SendError::Unsent(error))) => {
                    let detail = format!("it closed the connection: {error}");
                    return Err(unsent(detail, head, extensions, body, call));
                }
                Err(Failure::Send(SendError::Broken(error))) => return Err(UpstreamError::Failed(error.to_string())),
                Err(Failure::TimedOut(limit)) => return Err(UpstreamError::TimedOut(limit)),
            }
        }
    }

    /// The head of a request as the node sees it, whose body has so many bytes.
    fn outgoing(&self, mut head: Parts, body_bytes: usize) -> Parts {
        head.uri = self.0.shared.target.clone();
        head.version = Version::HTTP_11;
        frame_whole(&mut head.headers, body_bytes);
        strip_hop_by_hop(&mut head.headers);
        join_cookies(&mut head.headers);
        head.headers.insert(header::HOST, self.0.shared.host.clone());
        head
    }

    /// How long a message waits for a connection where all are in use. A request has waited in the queue already;
    /// nothing else has, and of it there may be as much at once as there are clients.
    fn patience(&self, call: &Call) -> Duration {
        let options = &self.0.shared.options;
        if call.is_request() { options.connect_timeout } else { options.first_byte_timeout }
    }

    /// A connection with a place of its kind, and whether it was kept from an earlier call.
    async fn connection(
        &self,
        purpose: Purpose,
        now: Instant,
        patience: Instant,
    ) -> Result<(Connection, bool), UpstreamError> {
        let Local { shared, pool } = &*self.0;
        let mut own_place = match purpose {
            Purpose::Call => None,
            Purpose::Listening => Some(shared.pools.place_for_stream().ok_or_else(|| self.full(purpose))?),
        };
        let mut waiting = None;
        loop {
            if let Some(mut connection) = pool.take(now).await {
                if let Some(place) = own_place {
                    connection.slot = place;
                }
                return Ok((connection, true));
            }
            if let Some(place) = own_place.take().or_else(|| shared.pools.place_for_call()) {
                // The next one need not wait until this one is connected.
                drop(waiting);
                return Ok((self.connect(place).await?, false));
            }
            match &waiting {
                // A place may have come free before anybody waited for it.
                None => waiting = Some(shared.pools.wait_for_call()),
                Some(waiting) => {
                    timeout_at(patience.into(), waiting.freed()).await.map_err(|_| self.full(purpose))?;
                }
            }
        }
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
        match timeout(options.connect_timeout, options.dialer.dial()).await {
            Err(_) => Err(unavailable(format!("no connection within {:?}", options.connect_timeout))),
            Ok(Err(error)) => Err(unavailable(format!("no connection: {}", why(&error)))),
            Ok(Ok(stream)) => Ok(Connection::over(stream, place)),
        }
    }

    fn hand_out(&self, connection: Connection, response: Response<()>) -> Result<Response<PooledBody>, UpstreamError> {
        let (mut head, ()) = response.into_parts();
        strip_hop_by_hop(&mut head.headers);
        head.version = Version::HTTP_11;
        let body = PooledBody::new(connection, Arc::clone(&self.0.pool));
        body.map(|body| Response::from_parts(head, body)).map_err(|error| UpstreamError::Failed(error.to_string()))
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

/// Why there is no answer.
enum Failure {
    Send(SendError),
    TimedOut(Duration),
}

async fn send(
    connection: &mut Connection,
    head: &Parts,
    body: &Bytes,
    limit: Option<Duration>,
) -> Result<Response<()>, Failure> {
    let answer = connection.send(head, body);
    match limit {
        None => answer.await,
        Some(limit) => timeout(limit, answer).await.map_err(|_| Failure::TimedOut(limit))?,
    }
    .map_err(Failure::Send)
}

/// Gives back what was not sent.
fn unsent(detail: String, mut head: Parts, extensions: Extensions, body: Bytes, call: Arc<Call>) -> UpstreamError {
    head.extensions = extensions;
    let request = Box::new(McpRequest::new(Arc::new(head), body, call));
    UpstreamError::Unsent { detail, request }
}

impl Upstream for HttpUpstream {
    type Body = PooledBody;

    fn send(&self, request: McpRequest) -> impl Future<Output = Answer> + Send {
        self.call(request)
    }
}
