//! Asks again and again whether the node is well, and tells [`Health`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use mcp_guard::GuardLayer;
use mcp_guard::call::Method;
use mcp_guard::middleware::{Upstream, UpstreamError};
use mcp_guard::revision::Revision;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::health::Health;
use crate::upstream::eras::caller::Caller;
use crate::upstream::eras::message::Message;
use crate::upstream::http::HttpUpstream;
use crate::upstream::sessions::{Health as Vitality, SessionNode};

/// How a node is asked.
#[derive(Debug)]
pub enum Probe {
    /// Whether it answers a `ping` over HTTP, whatever it answers, within this time.
    Http {
        /// The node, by connections of its own.
        node: HttpUpstream,
        /// How long it may take.
        timeout: Duration,
    },
    /// Whether it opens sessions, and answers in them.
    Session(SessionNode),
}

impl Probe {
    async fn ask(&self) -> Result<(), String> {
        match self {
            Self::Http { node, timeout } => match tokio::time::timeout(*timeout, ping(node)).await {
                Ok(answered) => answered,
                Err(_) => Err(format!("no answer within {timeout:?}")),
            },
            Self::Session(node) => match node.probe().await {
                Vitality::Alive | Vitality::Unknown => Ok(()),
                Vitality::Failing => Err("it does not open a session, or does not answer in one".into()),
            },
        }
    }
}

/// Sends a `ping` that belongs to no session: most nodes refuse it, and are alive. Those are not that say so, or say nothing.
async fn ping(node: &HttpUpstream) -> Result<(), String> {
    let (head, ()) = Request::post("/").body(()).map_err(|error| error.to_string())?.into_parts();
    let message = Message::request("\"mcp-guard-ping\"", Method::PING, "{}");
    let ping = Caller::by(&Arc::new(head)).request(message, Revision::V2025_11_25, HeaderMap::new());
    match node.send(ping).await {
        Ok(response) if matches!(response.status().as_u16(), 502..=504) => {
            Err(format!("it answers {}", response.status()))
        }
        Ok(response) => {
            // Read to its end, so that the connection serves the next one.
            let _ = response.into_body().collect().await;
            Ok(())
        }
        // All connections are in use, so there is somebody.
        Err(UpstreamError::Refused(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// A service that probes at an interval, until the end.
pub struct Prober {
    probe: Probe,
    interval: Duration,
    health: Arc<Health>,
    layer: Arc<ArcSwap<GuardLayer>>,
}

impl Prober {
    /// Asks with `probe` each `interval`, and tells `health`. When the node is well again after it was not, another may
    /// run there, so `layer` forgets its tools.
    pub fn new(probe: Probe, interval: Duration, health: Arc<Health>, layer: Arc<ArcSwap<GuardLayer>>) -> Self {
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
                self.layer.load().forget_tools();
            }
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}
