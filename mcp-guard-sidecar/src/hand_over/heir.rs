//! Who waits for the sessions of the process whose place it takes.

use std::fmt;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::Predecessor;
use super::exchange::Exchange;

/// Where sessions go over, beside the sockets.
pub(super) fn sessions_path(path: &Path) -> PathBuf {
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
}

/// How long the predecessor may take: it connects as soon as it has sent its sockets.
const OFFERED_WITHIN: Duration = Duration::from_secs(2);

/// The owner alone.
const MODE: u32 = 0o600;

impl Heir {
    /// Of the process that hands its sockets over beside.
    ///
    /// # Errors
    ///
    /// If nobody can wait there.
    pub fn new(exchange: Exchange, predecessor: &Predecessor) -> io::Result<Self> {
        let path = sessions_path(&predecessor.path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(MODE))?;
        listener.set_nonblocking(true)?;
        exchange.expect_predecessor(true);
        Ok(Self { exchange, path, listener, predecessor: predecessor.pid })
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
}

#[async_trait]
impl BackgroundService for Heir {
    /// Whoever hands over in turn passes on what comes still, so this does not end before its runtime.
    async fn start(&self, _: ShutdownWatch) {
        let offered = timeout(OFFERED_WITHIN, self.offered()).await.unwrap_or_else(|late| Err(late.into()));
        // Nobody else is to come.
        let _ = fs::remove_file(&self.path);
        match offered {
            Ok(stream) => self.exchange.inherit(stream).await,
            Err(error) => {
                tracing::warn!(%error, "the old process hands no sessions over");
                self.exchange.expect_predecessor(false);
            }
        }
        self.exchange.forget_left().await;
    }
}

impl fmt::Debug for Heir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heir").field("path", &self.path).finish_non_exhaustive()
    }
}
