//! What the requests of one connection go through before the stack, and their answers after it.

use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use mcp_guard::call::Method as McpMethod;
use mcp_guard::middleware::{self, GuardBody, Handler, Subject};
use mcp_guard::queue::Pressure;
use mcp_guard::refusal::{Reason, Refusal};
use metrics::counter;

use crate::clients::{self, Events};
use crate::drain::Drain;
use crate::memory::Memory;
use crate::refused;
use crate::resume::{Entry, Reader, Resuming};
use crate::setup::Current;
use crate::sign_of_life::SignOfLife;

/// Serves the requests of one connection with `service`.
pub(crate) struct Served<H> {
    pub(crate) setup: Current<H>,
    /// Shared by the requests of this connection alone, so that counting who holds it stays on one core.
    pub(crate) connection: Arc<Connection>,
}

impl<H> Clone for Served<H> {
    fn clone(&self) -> Self {
        Self { setup: Arc::clone(&self.setup), connection: Arc::clone(&self.connection) }
    }
}

/// What holds for all requests of a connection.
pub(crate) struct Connection {
    pub(crate) client: IpAddr,
    /// Who the client is, where it has shown that.
    pub(crate) subject: Option<Subject>,
    pub(crate) drain: Drain,
    pub(crate) memory: Arc<Memory>,
    /// It has come by a door: its requests find no others, and nothing to resume.
    pub(crate) is_bare: bool,
    /// Why the whole connection is turned away. It was counted when it was accepted.
    pub(crate) turned_away: Option<Reason>,
}

impl<H: Handler> hyper::service::Service<Request<Incoming>> for Served<H> {
    type Response = Response<DrainedBody<GuardBody<H::Body>>>;
    type Error = Infallible;
    type Future = ServedFuture<middleware::Served<H::Body>, GuardBody<H::Body>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.answer(request)
    }
}

impl<H: Handler> Served<H> {
    /// The same for requests that came in by a door: they find no others, and nothing to resume.
    pub(crate) fn bare(&self) -> Self {
        let Connection { client, subject, drain, memory, turned_away, .. } = &*self.connection;
        let connection = Connection {
            client: *client,
            subject: subject.clone(),
            drain: drain.clone(),
            memory: Arc::clone(memory),
            is_bare: true,
            turned_away: *turned_away,
        };
        Self { setup: Arc::clone(&self.setup), connection: Arc::new(connection) }
    }

    /// Answers a request, however it came.
    pub(crate) fn answer<B>(
        &self,
        mut request: Request<B>,
    ) -> ServedFuture<middleware::Served<H::Body>, GuardBody<H::Body>>
    where
        B: Body<Data: Send> + Send + 'static,
    {
        if let Some(reason) = self.connection.refuses(request.method()) {
            return ServedFuture::Refused(Some(refused(reason, request.version())));
        }
        let setup = self.setup.load();
        let is_bare = self.connection.is_bare;
        if let Some(doors) = setup.doors.as_ref().filter(|_| !is_bare) {
            match clients::enter(doors, self, request) {
                Ok(entered) => return ServedFuture::Entered(entered),
                Err(back) => request = back,
            }
        }
        let resumable = match setup.resumption.as_ref().filter(|_| !is_bare) {
            None => None,
            Some(resumption) => match resumption.enter(&mut request, self.connection.subject.as_ref()) {
                Entry::Answered(answer) => return ServedFuture::Refused(Some(answer)),
                Entry::Plain => None,
                Entry::Resumable(resumable) => Some(Resuming::new(resumable)),
            },
        };
        let (version, stays_open) = (request.version(), stays_open(&request));
        let connection = Arc::clone(&self.connection);
        if let Some(subject) = &connection.subject {
            request.extensions_mut().insert(subject.clone());
        }
        ServedFuture::Asked {
            future: Some(setup.service.serve(request, Some(self.connection.client))),
            connection,
            version,
            stays_open,
            resumable,
        }
    }
}

/// The answer to a request, on its way.
pub(crate) enum ServedFuture<F, B> {
    /// It is there: a refusal of the host's own.
    Refused(Option<Response<DrainedBody<B>>>),
    /// It comes by one of the doors.
    Entered(Pin<Box<dyn Future<Output = Response<DrainedBody<B>>> + Send>>),
    /// It comes from the stack.
    Asked {
        /// The stack's own, until it is a part of a stream that was begun before.
        future: Option<F>,
        /// The one that it came over.
        connection: Arc<Connection>,
        /// The client's version of HTTP.
        version: Version,
        /// Whether the answer is a stream that does not end by itself.
        stays_open: bool,
        /// How it can be resumed, if it can.
        resumable: Option<Resuming>,
    },
}

impl<F, B> Future for ServedFuture<F, B>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Send + Unpin + 'static,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    type Output = Result<Response<DrainedBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Refused(response) => response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response))),
            Self::Entered(response) => response.as_mut().poll(cx).map(Ok),
            Self::Asked { future, connection, version, stays_open, resumable } => {
                let Some(asked) = future else { return Poll::Pending };
                let Poll::Ready(Ok(mut response)) = Pin::new(asked).poll(cx) else {
                    let Some(resuming) = resumable else { return Poll::Pending };
                    return resuming.poll_primed(future, cx).map(Ok);
                };
                let drain = &connection.drain;
                if drain.is_leaving() {
                    close(response.headers_mut(), *version);
                }
                let drain = stays_open.then(|| ends(drain.clone()));
                let sign_of_life = SignOfLife::of(response.headers_mut());
                let resuming = resumable.take().filter(|_| sign_of_life.is_some());
                let whole = |body| DrainedBody::Body { body, drain, sign_of_life: None };
                Poll::Ready(Ok(response.map(|body| match resuming {
                    Some(resuming) => resuming.stream(whole(body), sign_of_life),
                    None => whole(body).with(sign_of_life),
                })))
            }
        }
    }
}

impl Connection {
    /// Why a request is refused before it is read.
    fn refuses(&self, method: &Method) -> Option<Reason> {
        if self.turned_away.is_some() {
            return self.turned_away;
        }
        let reason = if self.drain.is_draining() {
            Reason::Draining
        } else if method == Method::POST && self.memory.sheds() {
            Reason::MemoryPressure
        } else {
            return None;
        };
        counter!("mcp_guard_refusals_total", "reason" => reason.as_str()).increment(1);
        Some(reason)
    }
}

/// Whether the answer is a stream that does not end by itself: that of a GET, or of `subscriptions/listen`, which
/// 2026-07-28 has in its place. That revision requires the header, and the stack refuses one that the body contradicts.
fn stays_open<B>(request: &Request<B>) -> bool {
    let named = request.headers().get(METHOD).map(HeaderValue::as_bytes);
    request.method() == Method::GET || named == Some(McpMethod::SUBSCRIPTIONS_LISTEN.as_bytes())
}

const METHOD: &str = "mcp-method";

fn ends(drain: Drain) -> Ends {
    Box::pin(async move { drain.turns_away().await })
}

/// The answer to a request that is not read.
fn refused<B>(reason: Reason, version: Version) -> Response<DrainedBody<B>> {
    if reason == Reason::MemoryPressure {
        // It ends no connection.
        return refused::response(&Pressure::refusal()).map(DrainedBody::Whole);
    }
    let is_draining = reason == Reason::Draining;
    let detail = if is_draining { "another node serves you" } else { "close some, or come back later" };
    let mut response = refused::response(&Refusal::new(reason, detail).retry_after(CONNECTION_WAIT));
    close(response.headers_mut(), version);
    response.map(DrainedBody::Whole)
}

/// When to come back: connections come and go.
const CONNECTION_WAIT: Duration = Duration::from_secs(1);

/// Tells a client of HTTP/1 to come back on another connection. HTTP/2 has GOAWAY for that, and no such header.
fn close(headers: &mut http::HeaderMap, version: Version) {
    if version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

type Ends = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A body that ends when the guard drains, if it is a stream that would never end by itself.
pub(crate) enum DrainedBody<B> {
    /// An answer of the host's own.
    Whole(Full<Bytes>),
    /// What a client of another transport is told.
    Told(Events),
    /// A stream that can be resumed.
    Resumed {
        /// The client's.
        reader: Reader,
        /// What it says while it says nothing.
        sign_of_life: Option<SignOfLife>,
    },
    /// An answer of the stack's.
    Body {
        /// What the stack answered.
        body: B,
        /// When it has to end.
        drain: Option<Ends>,
        /// What it says while it says nothing, if it is a stream of events: what comes in one frame are whole ones.
        sign_of_life: Option<SignOfLife>,
    },
}

impl<B> fmt::Debug for DrainedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DrainedBody")
    }
}

impl<B> DrainedBody<B> {
    /// The same, with what it says while it says nothing.
    pub(crate) fn with(self, sign_of_life: Option<SignOfLife>) -> Self {
        match self {
            Self::Body { body, drain, .. } => Self::Body { body, drain, sign_of_life },
            Self::Whole(_) | Self::Told(_) | Self::Resumed { .. } => self,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for DrainedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Resumed { reader, sign_of_life } => {
                if let Poll::Ready(event) = reader.poll_next(cx) {
                    return Poll::Ready(event.map(|event| Ok(Frame::data(event))));
                }
                let sign = sign_of_life.as_mut().map_or(Poll::Pending, |sign| sign.poll(cx));
                sign.map(|comment| Some(Ok(Frame::data(comment))))
            }
            Self::Told(events) => events.poll_next(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
            Self::Body { body, drain, sign_of_life } => {
                if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
                    return Poll::Ready(frame);
                }
                if drain.as_mut().is_some_and(|ends| ends.as_mut().poll(cx).is_ready()) {
                    return Poll::Ready(None);
                }
                let sign = sign_of_life.as_mut().map_or(Poll::Pending, |sign| sign.poll(cx));
                sign.map(|comment| Some(Ok(Frame::data(comment))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Told(_) | Self::Resumed { .. } => false,
            Self::Body { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Told(_) | Self::Resumed { .. } => SizeHint::default(),
            Self::Body { body, .. } => body.size_hint(),
        }
    }
}
