//! Looks at the files of TLS again and again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::reloaded::Watched;
use super::{ClientTls, ServerTls};
use crate::hangups::Hangups;

/// Looks at files each second, and at once on SIGHUP.
#[derive(Default)]
pub struct Watcher {
    watched: Vec<Arc<dyn Watched>>,
}

/// Contents are compared, not times: a mounted Secret is replaced by a link that changes, with times of its own.
const INTERVAL: Duration = Duration::from_secs(1);

impl Watcher {
    /// Looks at those of a listener too.
    pub fn server(&mut self, tls: &ServerTls) {
        self.watched.push(tls.watched());
    }

    /// Looks at those of an upstream too.
    pub fn client(&mut self, tls: &ClientTls) {
        self.watched.push(tls.watched());
    }

    /// Whether there is nothing to look at.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    async fn look(&self) {
        for watched in &self.watched {
            let watched = Arc::clone(watched);
            // Files can be slow, and a panic has been told.
            let _ = tokio::task::spawn_blocking(move || watched.look_and_tell()).await;
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").field("watched", &self.watched.len()).finish()
    }
}

#[async_trait::async_trait]
impl BackgroundService for Watcher {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangups = Hangups::listen();
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = hangups.next() => {}
                _ = shutdown.changed() => return,
            }
            self.look().await;
        }
    }
}
