//! Asks again and again whether the nodes are well, and tells [`Health`].

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
use tokio::sync::watch;
use tokio::task::JoinSet;

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

/// A node that is asked at an interval.
#[derive(Clone)]
pub struct Probing {
    probe: Arc<Probe>,
    interval: Duration,
    health: Arc<Health>,
    after_each: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Probing {
    /// Asks with `probe` each `interval`, and tells `health`.
    pub fn new(probe: Probe, interval: Duration, health: Arc<Health>) -> Self {
        Self { probe: Arc::new(probe), interval, health, after_each: None }
    }

    /// Does this after each probe.
    #[must_use]
    pub fn then(self, after_each: impl Fn() + Send + Sync + 'static) -> Self {
        Self { after_each: Some(Arc::new(after_each)), ..self }
    }

    async fn run(self, layer: Arc<ArcSwap<GuardLayer>>) {
        loop {
            if self.health.probed(self.probe.ask().await) {
                layer.load().forget_tools();
            }
            if let Some(after_each) = &self.after_each {
                after_each();
            }
            tokio::time::sleep(self.interval).await;
        }
    }
}

impl fmt::Debug for Probing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probing").field("health", &self.health).finish_non_exhaustive()
    }
}

/// A service that probes nodes until the end. Clones are the same.
#[derive(Clone)]
pub struct Prober {
    nodes: watch::Sender<Vec<Probing>>,
    layer: Arc<ArcSwap<GuardLayer>>,
}

impl Prober {
    /// Probes nothing yet. When a node is well again after it was not, another may run there, so `layer` forgets its tools.
    pub fn new(layer: Arc<ArcSwap<GuardLayer>>) -> Self {
        Self { nodes: watch::Sender::default(), layer }
    }

    /// From now on these nodes are probed, each at once and then at its interval.
    pub fn set(&self, nodes: Vec<Probing>) {
        self.nodes.send_replace(nodes);
    }
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober").finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl BackgroundService for Prober {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let mut nodes = self.nodes.subscribe();
        loop {
            let mut probing = JoinSet::new();
            for node in nodes.borrow_and_update().iter() {
                probing.spawn(node.clone().run(Arc::clone(&self.layer)));
            }
            tokio::select! {
                biased;
                // The sender lives as long as this.
                _ = nodes.changed() => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}
