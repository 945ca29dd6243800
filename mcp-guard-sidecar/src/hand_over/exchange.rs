//! Sessions of the guard's own go over to the process that takes this one's place.
//!
//! Both serve for a while, and a client's next message may come to either. So each asks the other for a session that it does not
//! know and goes on with it, by a connection of its own to the node; and what nobody has asked for the old one tells when it ends.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use mcp_guard::middleware::{McpRequest, UpstreamError, clock};
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::session::SessionId;
use rustix::process::geteuid;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::heir::sessions_path;
use super::leftovers::{Left, Leftovers};
use super::link::{Incoming, Link};
use super::message::{Message, Moved};
use super::other::Other;
use crate::upstream::sessions::SessionNode;

/// What there is to know about sessions of other processes. Clones are the same.
#[derive(Clone, Default)]
pub struct Exchange(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Whether another process may know sessions that are not here: each message asks.
    is_open: AtomicBool,
    kept: OnceLock<Vec<Kept>>,
    predecessor: watch::Sender<Other>,
    successor: watch::Sender<Other>,
    left: Mutex<Leftovers<Moved>>,
}

/// What those of legacy clients with stateless nodes are kept as.
pub(crate) const STATELESS: &str = "stateless";

/// Some of the sessions that this process keeps.
#[derive(Clone, Debug)]
pub struct Kept {
    /// What tells them from others, in both processes.
    pub(crate) name: &'static str,
    pub(crate) node: SessionNode,
    /// Whether there are, or ever were, any.
    pub(crate) are_some: Arc<AtomicBool>,
}

/// How long a message waits for a session that may be elsewhere.
const FETCHED_WITHIN: Duration = Duration::from_secs(1);

/// How long the other process may take for what is left.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often is looked for those whose time is over.
const SWEEP: Duration = Duration::from_secs(10);

/// When a session may be here that another process did not tell of in time.
const AGAIN: Duration = Duration::from_secs(1);

impl Exchange {
    /// These sessions take part. Said once.
    pub fn set_kept(&self, kept: Vec<Kept>) {
        // A guard has one upstream.
        let _ = self.0.kept.set(kept);
    }

    /// Whether a session that is not here may be elsewhere.
    pub fn is_open(&self) -> bool {
        self.0.is_open.load(Ordering::Relaxed)
    }

    /// Has the session of `request` here, if another process knows it, and the request may be in it.
    ///
    /// # Errors
    ///
    /// If there is no place for it, or the other process does not say in time.
    pub async fn fetch(&self, request: &McpRequest) -> Result<(), UpstreamError> {
        let Some(id) = self.elsewhere(request) else { return Ok(()) };
        let is_told = self.is_left(id) || timeout(FETCHED_WITHIN, self.ask(id, None)).await.is_ok();
        let is_here = self.adopt_left(id, request)?;
        if is_here || is_told || !self.are_all_ours() {
            return Ok(());
        }
        let refusal = Refusal::new(Reason::UpstreamUnavailable, "another process has the session, and does not answer");
        Err(UpstreamError::Refused(Box::new(refusal.retry_after(AGAIN))))
    }

    /// Ends the session of `request`, which is not here, if another process knows it and the request may be in it.
    pub async fn end_elsewhere(&self, request: &McpRequest) -> bool {
        let Some(id) = self.elsewhere(request) else { return false };
        if !self.is_left(id) {
            // What is not told in time is not ended.
            let _ = timeout(FETCHED_WITHIN, self.ask(id, None)).await;
        }
        let may_be_in = |left: &Left<Moved>| {
            self.kept_as(&left.what).is_some_and(|kept| kept.node.may_end(&left.what.record, request))
        };
        let is_known = lock(&self.0.left).get(id).is_some_and(may_be_in);
        if is_known {
            self.ended(id);
        }
        is_known
    }

    /// The session of `request`, if it is not here and may be elsewhere.
    fn elsewhere(&self, request: &McpRequest) -> Option<SessionId> {
        let id = request.call.session.as_deref().and_then(SessionId::parse)?;
        (!self.kept().is_empty() && !self.has(id)).then_some(id)
    }

    /// A client has ended this session.
    pub fn ended(&self, id: SessionId) {
        self.ended_by(id, None);
    }

    /// The same, where `teller` says so, or this process.
    fn ended_by(&self, id: SessionId, teller: Option<&Arc<Link>>) {
        self.kept().iter().for_each(|kept| kept.node.end(id));
        lock(&self.0.left).end(id, !self.is_alone());
        self.look_whether_open();
        for other in [&self.0.predecessor, &self.0.successor] {
            let link = match &*other.borrow() {
                Other::There(link) => Arc::clone(link),
                Other::None | Other::Expected => continue,
            };
            if teller.is_none_or(|teller| !Arc::ptr_eq(&link, teller)) {
                // Nobody waits for that, and nobody who leaves stops it.
                tokio::spawn(async move { timeout(FETCHED_WITHIN, link.ended(id)).await });
            }
        }
    }

    /// Asks the other processes but `asker` for a session, which is left here if one knows it.
    async fn ask(&self, id: SessionId, asker: Option<&Arc<Link>>) {
        // A successor that has not begun yet has nothing, most likely, where nobody had.
        let waits_for_successor = self.kept().iter().any(|kept| kept.are_some.load(Ordering::Relaxed));
        for (other, waits) in [(&self.0.predecessor, true), (&self.0.successor, waits_for_successor)] {
            if !waits && matches!(&*other.borrow(), Other::Expected) {
                continue;
            }
            let link = Other::link(other).await.filter(|link| asker.is_none_or(|asker| !Arc::ptr_eq(link, asker)));
            if let Some(link) = link {
                link.ask(id).await;
            }
            if self.is_left(id) || self.has(id) {
                return;
            }
        }
    }

    /// A successor is about to serve, or will not be there after all. A process that keeps no sessions need not know.
    pub fn expect_successor(&self, is_expected: bool) {
        let other = if is_expected && !self.kept().is_empty() { Other::Expected } else { Other::None };
        self.set(&self.0.successor, other);
    }

    /// Offers the sessions to the process that waits at `path`.
    ///
    /// # Errors
    ///
    /// If nobody does who may have them.
    pub async fn offer(&self, path: &Path) -> io::Result<()> {
        let stream = UnixStream::connect(sessions_path(path)).await?;
        if stream.peer_cred()?.uid() != geteuid().as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let (link, incoming) = Link::over(stream);
        let keeps_any = !self.kept().is_empty();
        timeout(FETCHED_WITHIN, link.offer(keeps_any)).await??;
        if !keeps_any {
            return Ok(());
        }
        self.set(&self.0.successor, Other::There(Arc::clone(&link)));
        let exchange = self.clone();
        tokio::spawn(async move {
            exchange.serve(&link, incoming).await;
            exchange.expect_successor(false);
        });
        Ok(())
    }

    /// Tells the successor of all sessions that it has not asked for, those that the predecessor leaves among them, for which this
    /// waits at most for `patience`. Nothing is said in them here any more.
    pub async fn leave(&self, patience: Duration) {
        let Some(link) = Other::link(&self.0.successor).await else { return };
        let mut predecessor = self.0.predecessor.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail otherwise than by its limit.
        let _ = timeout(patience, predecessor.wait_for(Other::is_none)).await;
        let now = clock::now();
        let left = lock(&self.0.left).drain();
        let mut rest: Vec<(Duration, Moved)> =
            left.map(|left| (left.until.saturating_duration_since(now), left.what)).collect();
        for kept in self.kept() {
            let moved = |record| (kept.node.session_idle(), Moved { of: kept.name.into(), record });
            rest.extend(kept.node.give_rest().into_iter().map(moved));
        }
        let count = rest.len();
        match timeout(PATIENCE, link.leave(rest)).await {
            Ok(Ok(())) => tracing::info!(count, "sessions were left to the new process"),
            Ok(Err(error)) => tracing::warn!(count, %error, "sessions were lost: the new process does not take them"),
            Err(_) => tracing::warn!(count, "sessions were lost: the new process is too slow"),
        }
    }

    /// Expects a predecessor, or knows now that there is none.
    pub(super) fn expect_predecessor(&self, is_expected: bool) {
        self.set(&self.0.predecessor, if is_expected { Other::Expected } else { Other::None });
    }

    /// Serves the predecessor to its end.
    pub(super) async fn inherit(&self, stream: UnixStream) {
        let (link, mut incoming) = Link::over(stream);
        match incoming.next().await {
            Some(Message::Offer(true)) => {}
            // It has none, and cannot leave any.
            _ => return self.expect_predecessor(false),
        }
        self.set(&self.0.predecessor, Other::There(Arc::clone(&link)));
        self.serve(&link, incoming).await;
        self.expect_predecessor(false);
        tracing::info!(left = lock(&self.0.left).len(), "the old process has ended");
    }

    /// Forgets what the predecessor left when its time is over.
    pub(super) async fn forget_left(&self) {
        while !lock(&self.0.left).is_empty() {
            sleep(SWEEP).await;
            lock(&self.0.left).expire(clock::now());
            self.look_whether_open();
        }
    }

    /// Serves the other process to its end.
    async fn serve(&self, link: &Arc<Link>, mut incoming: Incoming) {
        while let Some(message) = incoming.next().await {
            match message {
                Message::Offer(_) => {}
                Message::Ask(id) => {
                    let (exchange, link) = (self.clone(), Arc::clone(link));
                    tokio::spawn(async move {
                        let moved = exchange.give(&id, &link).await;
                        link.answer(id, moved).await;
                    });
                }
                Message::Given { id, moved } => {
                    // Whoever asked may have left, and another come.
                    if let Some(moved) = moved {
                        self.keep_left(moved, self.idle(), self.is_successor(link));
                    }
                    link.given(&id);
                }
                Message::Ended(id) => {
                    if let Some(id) = SessionId::parse(&id) {
                        self.ended_by(id, Some(link));
                    }
                }
                Message::Left { seconds, moved } => self.keep_left(moved, Duration::from_secs(seconds), false),
            }
        }
        link.nobody_answers();
    }

    /// What the process at the other end of `asker` has to know of a session.
    async fn give(&self, id: &str, asker: &Arc<Link>) -> Option<Moved> {
        let id = SessionId::parse(id)?;
        let to_successor = self.is_successor(asker);
        let here = |kept: &Kept| Some(Moved { of: kept.name.into(), record: kept.node.give(id, to_successor)? });
        // A predecessor ends, and need not leave what it was given by its successor.
        let left = || if to_successor { self.take_left(id) } else { self.see_left(id) };
        let given = self.kept().iter().find_map(here).or_else(left);
        if given.is_some() {
            return given;
        }
        self.ask(id, Some(asker)).await;
        left()
    }

    /// Goes on with a session that was left; false if there is none that `request` may be in.
    fn adopt_left(&self, id: SessionId, request: &McpRequest) -> Result<bool, UpstreamError> {
        let mut left = lock(&self.0.left);
        let Some(found) = left.get(id) else { return Ok(self.has(id)) };
        // Under the lock, so that whoever comes second finds it in one place or the other.
        let is_adopted = self.adopt(&found.what, request, found.is_successors)?;
        if is_adopted {
            left.take(id);
            drop(left);
            self.look_whether_open();
        }
        Ok(is_adopted)
    }

    fn adopt(&self, moved: &Moved, request: &McpRequest, has_successor: bool) -> Result<bool, UpstreamError> {
        let Some(kept) = self.kept_as(moved) else { return Ok(false) };
        let is_adopted = kept.node.adopt(&moved.record, request, has_successor)?;
        kept.are_some.fetch_or(is_adopted, Ordering::Relaxed);
        Ok(is_adopted)
    }

    fn kept_as(&self, moved: &Moved) -> Option<&Kept> {
        self.kept().iter().find(|kept| kept.name == moved.of)
    }

    /// Whether no session is a node's own, so that none is known to it.
    fn are_all_ours(&self) -> bool {
        self.kept().iter().any(|kept| kept.name != STATELESS)
    }

    fn has(&self, id: SessionId) -> bool {
        self.kept().iter().any(|kept| kept.node.has_session(id))
    }

    fn is_left(&self, id: SessionId) -> bool {
        lock(&self.0.left).get(id).is_some()
    }

    fn kept(&self) -> &[Kept] {
        self.0.kept.get().map_or(&[], Vec::as_slice)
    }

    fn idle(&self) -> Duration {
        self.kept().first().map_or(Duration::ZERO, |kept| kept.node.session_idle())
    }

    fn is_successor(&self, link: &Arc<Link>) -> bool {
        matches!(&*self.0.successor.borrow(), Other::There(successor) if Arc::ptr_eq(successor, link))
    }

    fn keep_left(&self, moved: Moved, idle: Duration, is_successors: bool) {
        let mut left = lock(&self.0.left);
        let Some(id) = moved.record.id().filter(|id| !self.has(*id)) else { return };
        let Some(moved) = Left::new(moved, clock::now(), idle, is_successors) else { return };
        left.keep(id, moved);
        drop(left);
        self.look_whether_open();
    }

    fn see_left(&self, id: SessionId) -> Option<Moved> {
        lock(&self.0.left).get(id).map(|left| left.what.clone())
    }

    fn take_left(&self, id: SessionId) -> Option<Moved> {
        let left = lock(&self.0.left).take(id);
        self.look_whether_open();
        left
    }

    fn set(&self, place: &watch::Sender<Other>, other: Other) {
        place.send_replace(other);
        self.look_whether_open();
    }

    /// Whether no other process is there, nor expected.
    fn is_alone(&self) -> bool {
        self.0.predecessor.borrow().is_none() && self.0.successor.borrow().is_none()
    }

    fn look_whether_open(&self) {
        // Under the lock, so that who looks last is right.
        let mut left = lock(&self.0.left);
        let is_alone = self.is_alone();
        if is_alone {
            left.nothing_comes();
        }
        self.0.is_open.store(!is_alone || !left.is_empty(), Ordering::Relaxed);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
