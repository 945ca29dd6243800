//! How a session begins: a connection is made, and the node has to answer `initialize`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use mcp_guard::call::Call;
use mcp_guard::middleware::{UpstreamError, clock};
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::session::{End, FromNode, SessionId};
use tokio::sync::OwnedSemaphorePermit;

use super::answer;
use super::body::SessionBody;
use super::connection::{Connection, Handle};
use super::keeper::{Why, connect, keep};
use super::line::{Came, Line};
use super::outbox::Start;
use super::registry::Registry;
use super::service::{Health, Inner};
use super::session::{Asking, Session};
use crate::random;

/// Opens a session with the `initialize` that is `call`, whose id is `id`.
pub(super) async fn open(
    inner: &Arc<Inner>,
    call: &Call,
    id: &str,
    line: Bytes,
    came: Option<Came>,
) -> Result<Response<SessionBody>, UpstreamError> {
    let place = take_place(inner)?;
    let opening = start(inner, place, call.subject.clone()).await.inspect_err(|_| inner.note(Health::Failing))?;
    let limit = inner.options().start_timeout;
    if let Some(came) = &came {
        opening.session.opened_by(came);
    }
    let first = Line::new(line.clone(), came);
    let asking = Asking { id, progress_token: None, is_carrier: false };
    let answered = opening.session.ask_first(&opening.handle, asking, first, limit).await;
    inner.note(if matches!(answered, Ok(Start::End(End::Answered(_)))) { Health::Alive } else { Health::Failing });
    let answer = match answered? {
        Start::End(End::Answered(answer)) => answer,
        Start::End(End::Broken | End::Cancelled | End::Closed | End::Replaced) | Start::Message => {
            return Err(UpstreamError::Unavailable("it ended the session before it answered initialize".into()));
        }
    };
    if !FromNode::is_result(&answer) {
        // There is no session; dropping the opening closes the connection.
        return Ok(answer::json(SessionBody::whole(answer)));
    }
    opening.session.memory().note(&call.method, None, &line);
    if !opening.session.attach(&opening.handle) {
        return Err(UpstreamError::Unavailable("it ended the session as soon as it had answered initialize".into()));
    }
    if !inner.registry.insert(&opening.session) {
        return Err(draining());
    }
    if opening.session.is_over() {
        // It ended meanwhile, so nobody else will take the session out.
        inner.registry.remove(&opening.session);
    }
    Ok(answer::opened(SessionBody::whole(answer), opening.keep()))
}

pub(super) fn take_place(inner: &Inner) -> Result<OwnedSemaphorePermit, UpstreamError> {
    if inner.registry.is_draining() {
        return Err(draining());
    }
    Arc::clone(&inner.places).try_acquire_owned().map_err(|_| too_many(inner))
}

fn draining() -> UpstreamError {
    let refusal = Refusal::new(Reason::Draining, "no new sessions here").retry_after(Duration::from_secs(1));
    UpstreamError::Refused(Box::new(refusal))
}

/// A place is free at the latest when the session that is silent longest leaves, but clients mostly end theirs.
fn too_many(inner: &Inner) -> UpstreamError {
    let due = inner.registry.next_due().map(|due| due.saturating_duration_since(clock::now()));
    let wait = due.unwrap_or_default().min(WAIT_MAX);
    let all = inner.options().sessions_max;
    let detail = format!("{all} of {all} are in use");
    UpstreamError::Refused(Box::new(Refusal::new(Reason::TooManySessions, detail).retry_after(wait)))
}

const WAIT_MAX: Duration = Duration::from_secs(10);

/// Makes a session for `subject` with its first connection, and starts the tasks that serve it, on this runtime.
pub(super) async fn start(
    inner: &Arc<Inner>,
    place: OwnedSemaphorePermit,
    subject: Option<Box<str>>,
) -> Result<Opening, UpstreamError> {
    let mut tries = inner.link.tries();
    let (opening, session, keeper) = loop {
        let id = random::id().map_err(|error| UpstreamError::Unavailable(format!("no session id: {error}")))?;
        let session = Session::new(id, inner.options().profile, subject.clone());
        let (connection, lines) = Connection::new(&session, 0);
        let opening = Opening { session: Arc::clone(&session), handle: connection.handle().clone(), is_kept: false };
        tries = tries.saturating_sub(1);
        match connect(inner, &connection, lines).await {
            Ok(keeper) => break (opening, session, keeper),
            Err(_) if tries > 0 => {}
            Err(error) => return Err(error),
        }
    };
    let ending = Ending::new(&session, &inner.registry, place);
    tokio::spawn(keep(Arc::clone(inner), session, keeper, ending, Why::Lost));
    Ok(opening)
}

/// A session that ends when this is dropped, as by a client that leaves, unless it is kept.
pub(super) struct Opening {
    pub(super) session: Arc<Session>,
    /// Its first connection, which it does not use before `initialize` is answered.
    pub(super) handle: Handle,
    is_kept: bool,
}

impl Opening {
    fn keep(mut self) -> SessionId {
        self.is_kept = true;
        self.session.id()
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if !self.is_kept {
            self.session.end();
            self.handle.end();
        }
    }
}

/// Ends the session with the task that keeps it, however that ends; then its place is free.
pub(super) struct Ending {
    session: Arc<Session>,
    registry: Arc<Registry>,
    _place: OwnedSemaphorePermit,
}

impl Ending {
    pub(super) fn new(session: &Arc<Session>, registry: &Arc<Registry>, place: OwnedSemaphorePermit) -> Self {
        Self { session: Arc::clone(session), registry: Arc::clone(registry), _place: place }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.session.end();
        self.registry.remove(&self.session);
    }
}
