//! Looks whether there is another config.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::Reload;
use crate::hangups::Hangups;

/// Reloads on SIGHUP, and when the file has other contents.
#[derive(Debug)]
pub struct Watcher {
    reload: Reload,
    seen: Mutex<Seen>,
}

/// What the file contained.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// When it was read for a config.
    read: Option<u64>,
    /// When it was looked at last.
    last: Option<u64>,
}

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

impl Watcher {
    /// Of the file that `reload` reads. It may have changed since the guard began to start, so the first look reads it.
    pub fn new(reload: Reload) -> Self {
        Self { reload, seen: Mutex::default() }
    }

    /// Reloads if the file has changed, or anyway if that `is_asked`.
    fn look(&self, is_asked: bool) {
        // A file that cannot be read is being replaced, most likely.
        let found = self.reload.0.source.as_ref().and_then(super::Source::digest);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // One that changes still may be half written, and valid.
        let is_new = found.is_some() && found != seen.read && found == seen.last;
        seen.last = found;
        if is_new || is_asked {
            seen.read = found;
            self.reload.now();
        }
    }
}

#[async_trait::async_trait]
impl BackgroundService for Watcher {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangups = Hangups::listen();
        loop {
            let is_asked = tokio::select! {
                biased;
                () = tokio::time::sleep(INTERVAL) => false,
                () = hangups.next() => true,
                _ = shutdown.changed() => return,
            };
            // Nothing else runs on this thread.
            self.look(is_asked);
        }
    }
}
