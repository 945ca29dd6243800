//! The service: which session a message belongs to, and what becomes of it.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::middleware::{UpstreamError, clock};
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::revision::Revision;
use mcp_guard::session::{End, FromNode, SessionId, cancelled_id, one_line, progress_token};
use tokio::sync::Semaphore;
use tower::Service;

use super::answer;
use super::body::{SessionBody, broken, replaced};
use super::line::{Came, Line};
use super::link::Link;
use super::open::open;
use super::options::SessionOptions;
use super::outbox::Start;
use super::probe::probe;
use super::registry::Registry;
use super::session::{Asking, Session, gone, refuse};
use super::vitals::Vitals;
use super::waiting::Listening;
use crate::told::Told;
use crate::upstream::patience::patience;

/// A node with one conversation a connection, served as Streamable HTTP. Clones are the same node.
///
/// Requests carry their [`Call`] in their extensions, as the guard puts it there.
#[derive(Clone)]
pub struct SessionNode {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    options: ArcSwap<SessionOptions>,
    pub(super) registry: Arc<Registry>,
    pub(super) link: Box<dyn Link>,
    /// One for each connection, from before it is made until nothing of it is left.
    pub(super) places: Arc<Semaphore>,
    vitals: Mutex<Vitals>,
    is_ending: Told<bool>,
}

/// What the sessions show of the node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "health checks must say what each means")]
pub enum Health {
    /// None was opened yet.
    Unknown,
    /// The last that was to be seen of one is that it answered.
    Alive,
    /// The last one to be opened could not be, or was not answered.
    Failing,
}

impl Inner {
    pub(super) fn options(&self) -> Guard<Arc<SessionOptions>> {
        self.options.load()
    }

    pub(super) fn note(&self, health: Health) {
        self.vitals().note(health, clock::now());
    }

    fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.vitals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the node is shut down.
    pub(super) async fn ends(&self) {
        self.is_ending.until(|is_ending| *is_ending).await;
    }

    fn find(&self, incoming: &Incoming<'_>) -> Result<Arc<Session>, UpstreamError> {
        let Some(id) = incoming.call.session.as_deref() else {
            return Err(refuse(Reason::InvalidRequest, "`Mcp-Session-Id` missing"));
        };
        SessionId::parse(id)
            .and_then(|id| self.registry.find(id))
            .filter(|session| session.is_of(incoming.call))
            .filter(|session| incoming.came.as_ref().is_none_or(|came| session.admits(came)))
            .ok_or_else(gone)
    }
}

impl SessionNode {
    /// A node at the other end of `link`. No connection is made yet.
    pub(crate) fn new(link: impl Link, options: SessionOptions) -> Self {
        let sessions_max = options.sessions_max.get().min(Semaphore::MAX_PERMITS);
        let inner = Inner {
            registry: Arc::new(Registry::new(&options)),
            link: Box::new(link),
            places: Arc::new(Semaphore::new(sessions_max)),
            vitals: Mutex::new(Vitals::new(options.speaks_for)),
            is_ending: Told::default(),
            options: ArcSwap::from_pointee(options),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Forgets what sessions have shown of the node: another may be at the other end from now on.
    pub(crate) fn doubt(&self) {
        *self.inner.vitals() = Vitals::new(self.inner.options().speaks_for);
    }

    /// From now on the time-outs of `options` count. Bounds and quirks stay what they were, and so do sessions.
    pub(crate) fn renew(&self, options: SessionOptions) {
        let before = self.inner.options();
        let SessionOptions { sessions_max, session_idle, fails_over, profile, .. } = **before;
        self.inner.vitals().set_speaks_for(options.speaks_for);
        let next = SessionOptions { sessions_max, session_idle, fails_over, profile, ..options };
        self.inner.options.store(Arc::new(next));
    }

    /// Ends all sessions, and waits until their connections are gone; with processes, at most their `grace`, plus what the
    /// kernel needs. New sessions are refused as `draining`.
    ///
    /// Drain before: calls in flight fail.
    pub async fn shutdown(&self) {
        self.inner.registry.drain();
        self.inner.is_ending.set(true);
        let all = u32::try_from(self.inner.options().sessions_max.get()).unwrap_or(u32::MAX);
        // Those that are still beginning give their places back too. The semaphore is never closed.
        let _ = self.inner.places.acquire_many(all).await;
    }

    /// Whether the session that a call names is one of this node's.
    pub(crate) fn has(&self, call: &Call) -> bool {
        call.session.as_deref().and_then(SessionId::parse).is_some_and(|id| self.has_session(id))
    }

    /// How many sessions there are.
    pub fn sessions(&self) -> usize {
        self.inner.registry.len()
    }

    /// How many connections, or processes, there are, also those that are beginning or ending.
    pub fn links(&self) -> usize {
        self.inner.options().sessions_max.get().saturating_sub(self.inner.places.available_permits())
    }

    /// How the node is. If it has shown lately that it is well, by an answer, this asks nothing; else a session is
    /// opened, pinged and ended: a node that failed can come back without a client that tries, and one that nobody
    /// calls is still looked at.
    pub async fn probe(&self) -> Health {
        let (known, are_fresh) = {
            let vitals = self.inner.vitals();
            (vitals.health(), vitals.are_fresh(clock::now()))
        };
        if are_fresh {
            return known;
        }
        let health = probe(&self.inner, known).await;
        self.inner.note(health);
        health
    }

    /// How the node is, as far as its sessions show.
    pub fn alive(&self) -> Health {
        self.inner.vitals().health()
    }
}

impl fmt::Debug for SessionNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionNode").field("link", &self.inner.link).finish_non_exhaustive()
    }
}

type Reply = Result<Response<SessionBody>, UpstreamError>;

impl Service<Request<Full<Bytes>>> for SessionNode {
    type Response = Response<SessionBody>;
    type Error = UpstreamError;
    type Future = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let Some(call) = head.extensions.get::<Arc<Call>>().cloned() else {
                return Err(refuse(Reason::InvalidRequest, "the guard did not read this request"));
            };
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let accepts_events = answer::accepts_events(&head.headers);
            let limit = patience(&head.extensions, inner.options().first_byte);
            let came = inner.link.wants_heads().then(|| Came { head: Arc::new(head), until: clock::now() + limit });
            dispatch(&inner, Incoming { call: &call, body, accepts_events, limit, came }).await
        })
    }
}

/// A message of a client's.
struct Incoming<'a> {
    call: &'a Call,
    body: Bytes,
    accepts_events: bool,
    /// How long the node may take.
    limit: Duration,
    /// Where the link wants to know.
    came: Option<Came>,
}

async fn dispatch(inner: &Arc<Inner>, incoming: Incoming<'_>) -> Reply {
    let call = incoming.call;
    if call.revision.is_stateless() {
        return Err(stateless(call));
    }
    match call.kind {
        Kind::Request if call.method.is(Method::INITIALIZE) => initialize(inner, incoming).await,
        Kind::Request => ask(inner, incoming).await,
        Kind::Notification => notify(inner, incoming).await,
        Kind::Response => respond(inner, incoming).await,
        Kind::Listen => Listening::new(inner.find(&incoming)?).map(|l| answer::events(SessionBody::listen(l))),
        Kind::End => {
            let session = inner.find(&incoming)?;
            inner.registry.remove(&session);
            session.end();
            Ok(answer::empty(StatusCode::NO_CONTENT))
        }
    }
}

/// The node has sessions, so it speaks none of the stateless revisions.
///
/// `server/discover` is answered as older servers answer it, with an unknown method: that is what every client falls
/// back to `initialize` on. Some (rmcp 3.9) give up on an unsupported version, even when it lists older ones.
fn stateless(call: &Call) -> UpstreamError {
    if call.method.is(Method::SERVER_DISCOVER) {
        return refuse(Reason::MethodNotFound, "the node has sessions: begin with initialize");
    }
    let revision = call.revision;
    let supported: Vec<&str> =
        Revision::ALL.iter().filter(|revision| !revision.is_stateless()).map(|revision| revision.as_str()).collect();
    let detail = format!("the node supports {}", supported.join(", "));
    let refusal = Refusal::new(Reason::UnsupportedVersion, detail)
        .with("supported", supported)
        .with("requested", revision.as_str());
    UpstreamError::Refused(Box::new(refusal))
}

async fn initialize(inner: &Arc<Inner>, incoming: Incoming<'_>) -> Reply {
    if incoming.call.session.is_some() {
        return Err(refuse(Reason::InvalidRequest, "the session is initialized already"));
    }
    let line = line(inner, incoming.body)?;
    open(inner, incoming.call, id(incoming.call)?, line, incoming.came).await
}

async fn ask(inner: &Inner, incoming: Incoming<'_>) -> Reply {
    let session = inner.find(&incoming)?;
    let Incoming { call, body, accepts_events, limit, came } = incoming;
    let line = line(inner, body.clone())?;
    let id = id(call)?;
    // What comes before the answer comes as a stream, which not every client takes, and of which the guard itself reads
    // only the answer.
    let is_carrier = accepts_events && !call.guards_own;
    let progress_token = params(call, &body).filter(|_| is_carrier).and_then(progress_token);
    let asking = Asking { id, progress_token, is_carrier };
    let sent = line.clone();
    let (waiting, start) = session.ask(asking, Line::new(line, came), limit).await?;
    if matches!(start, Start::Message | Start::End(End::Answered(_))) {
        inner.note(Health::Alive);
    }
    match start {
        Start::Message => Ok(answer::events(SessionBody::answer(waiting, id.into()))),
        Start::End(End::Answered(answer)) => {
            remember(&session, call, &body, &sent, &answer);
            Ok(answer::json(SessionBody::whole(answer)))
        }
        Start::End(End::Cancelled) => Ok(answer::empty(StatusCode::ACCEPTED)),
        Start::End(End::Replaced) => Err(replaced()),
        Start::End(End::Broken | End::Closed) => Err(broken()),
    }
}

/// Notes what gave the session a state, which another node would have to be told.
fn remember(session: &Session, call: &Call, body: &[u8], sent: &Bytes, answer: &[u8]) {
    let gives_state = [Method::LOGGING_SET_LEVEL, Method::RESOURCES_SUBSCRIBE, Method::RESOURCES_UNSUBSCRIBE];
    if gives_state.iter().any(|method| call.method.is(method)) && FromNode::is_result(answer) {
        session.memory().note(&call.method, params(call, body), sent);
    }
}

async fn notify(inner: &Inner, incoming: Incoming<'_>) -> Reply {
    let session = inner.find(&incoming)?;
    let Incoming { call, body, limit, came, .. } = incoming;
    session.tell(Line::new(line(inner, body.clone())?, came), limit).await?;
    if call.method.is(Method::CANCELLED)
        && let Some(id) = params(call, &body).and_then(cancelled_id)
    {
        session.converse(|conversation| conversation.cancel(id));
    }
    Ok(answer::empty(StatusCode::ACCEPTED))
}

async fn respond(inner: &Inner, incoming: Incoming<'_>) -> Reply {
    let session = inner.find(&incoming)?;
    let line = line(inner, incoming.body)?;
    let id = id(incoming.call)?;
    if !session.converse(|conversation| conversation.take_asked(id)) {
        return Err(refuse(Reason::InvalidRequest, "the response answers no request of the node's"));
    }
    session.tell(Line::new(line, incoming.came), incoming.limit).await?;
    Ok(answer::empty(StatusCode::ACCEPTED))
}

/// The message as the node gets it.
fn line(inner: &Inner, body: Bytes) -> Result<Bytes, UpstreamError> {
    let body = inner.options().profile.to_node(body).map_err(|refusal| UpstreamError::Refused(Box::new(refusal)))?;
    Ok(one_line(body))
}

fn id(call: &Call) -> Result<&str, UpstreamError> {
    call.id.as_deref().ok_or_else(|| refuse(Reason::InvalidRequest, "`id` missing"))
}

fn params<'a>(call: &Call, body: &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(body.get(call.params.clone()?)?).ok()
}
