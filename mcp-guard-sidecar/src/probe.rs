//! Asks again and again whether the node is well, and tells [`Health`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mcp_guard::GuardLayer;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::health::Health;
use crate::upstream::dial::{Dialer, why};
use crate::upstream::sessions::{Health as Vitality, SessionNode};

/// How a node is asked.
#[derive(Debug)]
pub enum Probe {
    /// Whether a connection to it can be made, within this time.
    Connect {
        /// What makes them.
        dialer: Dialer,
        /// How long it may take.
        timeout: Duration,
    },
    /// Whether it opens sessions, and answers in them.
    Session(SessionNode),
}

impl Probe {
    async fn ask(&self) -> Result<(), String> {
        match self {
            Self::Connect { dialer, timeout } => match tokio::time::timeout(*timeout, dialer.dial()).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("no connection: {}", why(&error))),
                Err(_) => Err(format!("no connection within {timeout:?}")),
            },
            Self::Session(node) => match node.probe().await {
                Vitality::Alive | Vitality::Unknown => Ok(()),
                Vitality::Failing => Err("it does not open a session, or does not answer in one".into()),
            },
        }
    }
}

/// A service that probes at an interval, until the end.
pub struct Prober {
    probe: Probe,
    interval: Duration,
    health: Arc<Health>,
    layer: GuardLayer,
}

impl Prober {
    /// Asks with `probe` each `interval`, and tells `health`. When the node is well again after it was not, another may
    /// run there, so `layer` forgets its tools.
    pub fn new(probe: Probe, interval: Duration, health: Arc<Health>, layer: GuardLayer) -> Self {
        Self { probe, interval, health, layer }
    }
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober").field("health", &self.health).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl BackgroundService for Prober {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            if self.health.probed(self.probe.ask().await) {
                self.layer.forget_tools();
            }
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}
