//! Sessions of the guard's own go over to the process that takes this one's place.
//!
//! Both serve for a while, and a client's next message may come to either. So each asks the other for a session that it does not
//! know and goes on with it, by a connection of its own to the node; and what nobody has asked for the old one tells when it ends.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mcp_guard::middleware::McpRequest;
use mcp_guard::session::SessionId;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

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
    /// What the predecessor left, until it is asked for.
    left: Mutex<HashMap<SessionId, Moved>>,
}

/// Another process.
#[derive(Clone, Default)]
enum Other {
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
    /// Set when there are some of another process.
    pub(crate) are_some: Arc<AtomicBool>,
}

/// How long the other process may take to connect, and to take what is left.
const PATIENCE: Duration = Duration::from_secs(10);

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
    pub async fn fetch(&self, request: &McpRequest) {
        let id = request.call.session.as_deref().and_then(SessionId::parse);
        let Some(id) = id.filter(|id| !self.has(*id)) else { return };
        let moved = match self.take_left(id) {
            Some(moved) => Some(moved),
            None => self.ask(id, None).await,
        };
        if let Some(moved) = moved.filter(|moved| !self.adopt(moved, request)) {
            // Whoever it belongs to comes still.
            self.keep_left(moved);
        }
    }

    /// Asks the other processes but `asker` for a session.
    async fn ask(&self, id: SessionId, asker: Option<&Arc<Link>>) -> Option<Moved> {
        for other in [&self.0.predecessor, &self.0.successor] {
            let link = Other::link(other).await.filter(|link| asker.is_none_or(|asker| !Arc::ptr_eq(link, asker)));
            let Some(link) = link else { continue };
            if let Some(moved) = link.ask(id).await {
                return Some(moved);
            }
        }
        None
    }

    /// A successor is about to serve, or will not be there after all.
    pub fn expect_successor(&self, is_expected: bool) {
        self.0.successor.send_replace(if is_expected { Other::Expected } else { Other::None });
        self.look_whether_open();
    }

    /// Offers the sessions to the process that waits at `path`.
    ///
    /// # Errors
    ///
    /// If nobody does.
    pub async fn offer(&self, path: &Path) -> io::Result<()> {
        let stream = UnixStream::connect(sessions_path(path)).await?;
        let exchange = self.clone();
        let (link, incoming) = Link::over(stream);
        self.0.successor.send_replace(Other::There(Arc::clone(&link)));
        self.look_whether_open();
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
        let mut rest: Vec<Moved> = lock(&self.0.left).drain().map(|(_, moved)| moved).collect();
        for kept in self.kept() {
            rest.extend(kept.node.give_rest().into_iter().map(|record| Moved { of: kept.name.into(), record }));
        }
        let count = rest.len();
        match timeout(PATIENCE, link.leave(rest)).await {
            Ok(Ok(())) => tracing::info!(count, "sessions were left to the new process"),
            Ok(Err(error)) => tracing::warn!(count, %error, "sessions were lost: the new process does not take them"),
            Err(_) => tracing::warn!(count, "sessions were lost: the new process is too slow"),
        }
    }

    /// Serves the other process to its end.
    async fn serve(&self, link: &Arc<Link>, mut incoming: Incoming) {
        while let Some(message) = incoming.next().await {
            match message {
                Message::Ask(id) => {
                    let (exchange, link) = (self.clone(), Arc::clone(link));
                    tokio::spawn(async move {
                        let moved = exchange.give(&id, &link).await;
                        link.answer(id, moved).await;
                    });
                }
                Message::Given { id, moved } => {
                    if let Some(moved) = link.given(&id, moved) {
                        self.keep_left(moved);
                    }
                }
                Message::Left(moved) => self.keep_left(moved),
            }
        }
    }

    /// What the process at the other end of `asker` has to know of a session.
    async fn give(&self, id: &str, asker: &Arc<Link>) -> Option<Moved> {
        let id = SessionId::parse(id)?;
        let here = |kept: &Kept| Some(Moved { of: kept.name.into(), record: kept.node.give(id)? });
        if let Some(moved) = self.kept().iter().find_map(here).or_else(|| self.take_left(id)) {
            return Some(moved);
        }
        self.ask(id, Some(asker)).await
    }

    fn adopt(&self, moved: &Moved, request: &McpRequest) -> bool {
        let kept = self.kept().iter().find(|kept| kept.name == moved.of);
        kept.is_some_and(|kept| {
            kept.are_some.store(true, Ordering::Relaxed);
            kept.node.adopt(&moved.record, request)
        })
    }

    fn has(&self, id: SessionId) -> bool {
        self.kept().iter().any(|kept| kept.node.has_session(id))
    }

    fn kept(&self) -> &[Kept] {
        self.0.kept.get().map_or(&[], Vec::as_slice)
    }

    fn keep_left(&self, moved: Moved) {
        if let Some(id) = moved.record.id().filter(|id| !self.has(*id)) {
            lock(&self.0.left).insert(id, moved);
            self.look_whether_open();
        }
    }

    fn take_left(&self, id: SessionId) -> Option<Moved> {
        let moved = lock(&self.0.left).remove(&id);
        if moved.is_some() {
            self.look_whether_open();
        }
        moved
    }

    fn look_whether_open(&self) {
        let is_alone = self.0.predecessor.borrow().is_none() && self.0.successor.borrow().is_none();
        let is_open = !is_alone || !lock(&self.0.left).is_empty();
        self.0.is_open.store(is_open, Ordering::Relaxed);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}

/// Where sessions go over, beside the sockets.
fn sessions_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sessions");
    name.into()
}

/// A service that waits for the predecessor's offer, and keeps what it leaves.
pub struct Heir {
    exchange: Exchange,
    path: PathBuf,
    listener: std::os::unix::net::UnixListener,
    predecessor: u32,
    session_idle: Duration,
}

impl Heir {
    /// Of the process `predecessor`, which hands its sockets over at `path`. What it leaves is kept for `session_idle`.
    ///
    /// # Errors
    ///
    /// If nobody can wait there.
    pub fn new(exchange: Exchange, path: &Path, predecessor: u32, session_idle: Duration) -> io::Result<Self> {
        let path = sessions_path(path);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let listener = std::os::unix::net::UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(OWN_MODE))?;
        listener.set_nonblocking(true)?;
        exchange.0.predecessor.send_replace(Other::Expected);
        exchange.look_whether_open();
        Ok(Self { exchange, path, listener, predecessor, session_idle })
    }

    async fn offered(&self) -> io::Result<UnixStream> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            // Whoever else comes here may neither ask nor tell.
            if stream.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok()) == Some(self.predecessor) {
                return Ok(stream);
            }
        }
    }

    async fn inherit(&self) {
        let offered = timeout(PATIENCE, self.offered()).await;
        // Nobody else is to come.
        let _ = fs::remove_file(&self.path);
        let exchange = &self.exchange;
        let stream = match offered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "the old process hands no sessions over");
                exchange.0.predecessor.send_replace(Other::None);
                return exchange.look_whether_open();
            }
        };
        let (link, incoming) = Link::over(stream);
        exchange.0.predecessor.send_replace(Other::There(Arc::clone(&link)));
        exchange.serve(&link, incoming).await;
        exchange.0.predecessor.send_replace(Other::None);
        tracing::info!(left = lock(&exchange.0.left).len(), "the old process has ended");
        exchange.look_whether_open();
        sleep(self.session_idle).await;
        lock(&exchange.0.left).clear();
        exchange.look_whether_open();
    }
}

/// The owner alone.
const OWN_MODE: u32 = 0o600;

#[async_trait]
impl BackgroundService for Heir {
    async fn start(&self, _: ShutdownWatch) {
        // Who hands over in turn passes on what comes still; else the runtime ends, and this with it.
        self.inherit().await;
    }
}

impl fmt::Debug for Heir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heir").field("path", &self.path).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
