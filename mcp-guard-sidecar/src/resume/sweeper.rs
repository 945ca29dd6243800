//! Streams are forgotten when their time is over.

use std::sync::Arc;
use std::time::Duration;

use mcp_guard::middleware::clock;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::table::Streams;

/// Forgets streams whose time is over.
#[derive(Debug)]
pub struct Sweeper(Arc<Streams>);

const INTERVAL: Duration = Duration::from_secs(10);

impl Sweeper {
    /// Those of `streams`.
    pub fn new(streams: Arc<Streams>) -> Self {
        Self(streams)
    }
}

#[async_trait::async_trait]
impl BackgroundService for Sweeper {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep(INTERVAL) => {}
                _ = shutdown.changed() => return,
            }
            self.0.sweep(clock::now());
        }
    }
}
