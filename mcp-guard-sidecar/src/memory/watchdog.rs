//! Looks at the memory again and again.

use std::sync::Arc;
use std::time::Duration;

use metrics::gauge;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::{Cgroup, Memory, Sample, resident_bytes};

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// Tells [`Memory`] how much is in use.
#[derive(Debug)]
pub struct Watchdog {
    memory: Arc<Memory>,
    cgroup: Cgroup,
}

impl Watchdog {
    /// For whoever asks `memory`.
    pub fn new(memory: Arc<Memory>) -> Self {
        Self { memory, cgroup: Cgroup::own() }
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 bytes")]
    fn look(&self) {
        let resident = resident_bytes().unwrap_or_default();
        gauge!("mcp_guard_memory_bytes").set(resident as f64);
        self.memory.sampled(Sample { resident, cgroup: self.cgroup.usage() });
    }
}

#[async_trait::async_trait]
impl BackgroundService for Watchdog {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            self.look();
            tokio::select! {
                biased;
                () = tokio::time::sleep(INTERVAL) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}
