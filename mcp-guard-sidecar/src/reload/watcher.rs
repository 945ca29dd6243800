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
    /// What was seen last.
    digest: Mutex<Option<u64>>,
}

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

impl Watcher {
    /// Of the file that `reload` reads, as it is now.
    pub fn new(reload: Reload) -> Self {
        let digest = reload.0.source.as_ref().and_then(super::Source::digest);
        Self { reload, digest: Mutex::new(digest) }
    }

    /// Reloads if the file has changed since the last look, or anyway if that `is_asked`.
    fn look(&self, is_asked: bool) {
        // A file that cannot be read is being replaced, most likely.
        let found = self.reload.0.source.as_ref().and_then(super::Source::digest);
        let has_changed = found.is_some_and(|found| {
            let mut digest = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
            digest.replace(found) != Some(found)
        });
        if has_changed || is_asked {
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
                () = tokio::time::sleep(INTERVAL) => false,
                () = hangups.next() => true,
                _ = shutdown.changed() => return,
            };
            // Nothing else runs on this thread.
            self.look(is_asked);
        }
    }
}
