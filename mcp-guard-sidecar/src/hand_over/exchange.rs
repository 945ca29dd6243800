//! Sessions of the guard's own go over to the process that takes this one's place.
//!
//! Both serve for a while, and a client's next message may come to either. So each asks the other for a session that it does not
//! know and goes on with it, by a connection of its own to the node; and what nobody has asked for the old one tells when it ends.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use mcp_guard::middleware::{McpRequest, UpstreamError, clock};
use mcp_guard::session::SessionId;
use rustix::process::geteuid;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::heir::sessions_path;
use super::link::{Incoming, Link, Message, Moved};
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
    left: Mutex<HashMap<SessionId, Left>>,
}

/// What the predecessor left, until it is asked for.
struct Left {
    moved: Moved,
    until: Instant,
}

/// Another process.
#[derive(Clone, Default)]
pub(super) enum Other {
    /// There is none, or it has no sessions.
    #[default]
    None,
    /// It may serve already, and will be asked as soon as it can be.
    Expected,
    There(Arc<Link>),
}

impl Other {
    async fn link(other: &watch::Sender<Self>) -> Option<Arc<Link>> {
        // The sender lives as long as this, so waiting cannot fail.
        match &*other.subscribe().wait_for(|other| !matches!(other, Self::Expected)).await.ok()? {
            Self::There(link) => Some(Arc::clone(link)),
            Self::None | Self::Expected => None,
        }
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

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

/// No more is kept of what a predecessor left.
const LEFT_MAX: usize = 100_000;

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
    /// If there is no place for it.
    pub async fn fetch(&self, request: &McpRequest) -> Result<(), UpstreamError> {
        let Some(id) = request.call.session.as_deref().and_then(SessionId::parse) else { return Ok(()) };
        if self.kept().is_empty() || self.has(id) || self.adopt_left(id, request)? {
            return Ok(());
        }
        let Ok(Some((link, moved))) = timeout(FETCHED_WITHIN, self.ask(id, None)).await else {
            // The other may have left it meanwhile.
            return self.adopt_left(id, request).map(drop);
        };
        let adopted = self.adopt(&moved, request, self.is_successor(&link));
        if !matches!(adopted, Ok(true)) {
            // Whoever it belongs to comes still, or there is a place later.
            self.keep_left(moved, self.idle());
        }
        adopted.map(drop)
    }

    /// The client has ended the session called `id`.
    pub async fn ended(&self, id: &str) {
        self.forget(id);
        for other in [&self.0.predecessor, &self.0.successor] {
            let link = match &*other.borrow() {
                Other::There(link) => Some(Arc::clone(link)),
                Other::None | Other::Expected => None,
            };
            if let Some(link) = link {
                link.ended(id).await;
            }
        }
    }

    /// Asks the other processes but `asker` for a session.
    async fn ask(&self, id: SessionId, asker: Option<&Arc<Link>>) -> Option<(Arc<Link>, Moved)> {
        for other in [&self.0.predecessor, &self.0.successor] {
            let link = Other::link(other).await.filter(|link| asker.is_none_or(|asker| !Arc::ptr_eq(link, asker)));
            let Some(link) = link else { continue };
            if let Some(moved) = link.ask(id).await {
                return Some((link, moved));
            }
        }
        None
    }

    /// A successor is about to serve, or will not be there after all. A process without sessions need not know.
    pub fn expect_successor(&self, is_expected: bool) {
        let other = if is_expected && self.has_any() { Other::Expected } else { Other::None };
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
        let has_any = self.has_any();
        timeout(FETCHED_WITHIN, link.offer(has_any)).await??;
        if !has_any {
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
        let left = std::mem::take(&mut *lock(&self.0.left)).into_values();
        let mut rest: Vec<(Duration, Moved)> =
            left.map(|left| (left.until.saturating_duration_since(now), left.moved)).collect();
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
        loop {
            let next = lock(&self.0.left).values().map(|left| left.until).min();
            let Some(next) = next else { return };
            tokio::time::sleep_until(next.into()).await;
            let now = clock::now();
            lock(&self.0.left).retain(|_, left| left.until > now);
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
                    if let Some(moved) = link.given(&id, moved) {
                        self.keep_left(moved, self.idle());
                    }
                }
                Message::Ended(id) => self.forget(&id),
                Message::Left { seconds, moved } => self.keep_left(moved, Duration::from_secs(seconds)),
            }
        }
        link.nobody_answers();
    }

    /// What the process at the other end of `asker` has to know of a session.
    async fn give(&self, id: &str, asker: &Arc<Link>) -> Option<Moved> {
        let id = SessionId::parse(id)?;
        let to_successor = self.is_successor(asker);
        let here = |kept: &Kept| Some(Moved { of: kept.name.into(), record: kept.node.give(id, to_successor)? });
        let given = self.kept().iter().find_map(here);
        match given.or_else(|| self.take_left(id)) {
            Some(moved) => Some(moved),
            None => self.ask(id, Some(asker)).await.map(|(_, moved)| moved),
        }
    }

    /// Goes on with a session that was left; false if there is none that `request` may be in.
    fn adopt_left(&self, id: SessionId, request: &McpRequest) -> Result<bool, UpstreamError> {
        let mut left = lock(&self.0.left);
        let Some(found) = left.get(&id) else { return Ok(self.has(id)) };
        // Under the lock, so that whoever comes second finds it in one place or the other.
        let is_adopted = self.adopt(&found.moved, request, false)?;
        if is_adopted {
            left.remove(&id);
            drop(left);
            self.look_whether_open();
        }
        Ok(is_adopted)
    }

    fn adopt(&self, moved: &Moved, request: &McpRequest, has_successor: bool) -> Result<bool, UpstreamError> {
        let Some(kept) = self.kept().iter().find(|kept| kept.name == moved.of) else { return Ok(false) };
        let is_adopted = kept.node.adopt(&moved.record, request, has_successor)?;
        kept.are_some.fetch_or(is_adopted, Ordering::Relaxed);
        Ok(is_adopted)
    }

    /// The session is over, wherever it is.
    fn forget(&self, id: &str) {
        let Some(id) = SessionId::parse(id) else { return };
        self.kept().iter().for_each(|kept| kept.node.end(id));
        drop(self.take_left(id));
    }

    fn has(&self, id: SessionId) -> bool {
        self.kept().iter().any(|kept| kept.node.has_session(id))
    }

    /// Whether there are sessions here that could be asked for, or were.
    fn has_any(&self) -> bool {
        self.kept().iter().any(|kept| kept.are_some.load(Ordering::Relaxed)) || !lock(&self.0.left).is_empty()
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

    fn keep_left(&self, moved: Moved, idle: Duration) {
        let Some(id) = moved.record.id().filter(|id| !self.has(*id)) else { return };
        let mut left = lock(&self.0.left);
        if left.len() < LEFT_MAX {
            left.insert(id, Left { moved, until: clock::now() + idle });
        }
        drop(left);
        self.look_whether_open();
    }

    fn take_left(&self, id: SessionId) -> Option<Moved> {
        let left = lock(&self.0.left).remove(&id);
        self.look_whether_open();
        left.map(|left| left.moved)
    }

    fn set(&self, place: &watch::Sender<Other>, other: Other) {
        place.send_replace(other);
        self.look_whether_open();
    }

    fn look_whether_open(&self) {
        // Under the lock, so that who looks last is right.
        let left = lock(&self.0.left);
        let is_alone = self.0.predecessor.borrow().is_none() && self.0.successor.borrow().is_none();
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
