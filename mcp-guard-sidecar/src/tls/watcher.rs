//! Looks at the files of TLS again and again.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::reloaded::Watched;
use super::{ClientTls, ServerTls};
use crate::hangups::Hangups;

/// Looks at files each second, and at once on SIGHUP. Clones are the same.
#[derive(Clone, Default)]
pub struct Watcher(Arc<Mutex<All>>);

#[derive(Default)]
struct All {
    servers: Vec<Arc<dyn Watched>>,
    clients: Vec<Arc<dyn Watched>>,
}

/// Contents are compared, not times: a mounted Secret is replaced by a link that changes, with times of its own.
const INTERVAL: Duration = Duration::from_secs(1);

impl Watcher {
    /// Looks at those of a listener too.
    pub fn add_server(&self, tls: &ServerTls) {
        self.lock().servers.push(tls.watched());
    }

    /// From now on looks at those of these nodes, and of no others.
    pub fn set_clients<'a>(&self, nodes: impl IntoIterator<Item = &'a ClientTls>) {
        self.lock().clients = nodes.into_iter().map(ClientTls::watched).collect();
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self) {
        let all: Vec<_> = {
            let all = self.lock();
            all.servers.iter().chain(&all.clients).cloned().collect()
        };
        for watched in all {
            // Files can be slow, and a panic has been told.
            let _ = tokio::task::spawn_blocking(move || watched.look_and_tell()).await;
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl BackgroundService for Watcher {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut hangups = Hangups::listen();
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep(INTERVAL) => {}
                () = hangups.next() => {}
                _ = shutdown.changed() => return,
            }
            self.look().await;
        }
    }
}
