//! Sessions of the guard's own with one of several nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use mcp_guard::middleware::{UpstreamError, clock};
use tokio::sync::mpsc::Receiver;

use super::nodes::{Nodes, Place};
use crate::upstream::sessions::{Connection, Keeper, Line, Link};

/// Ways to nodes, of which each connection goes one: none, until they are [set](AnyOf::set). Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct AnyOf(Arc<ArcSwap<Ways>>);

#[derive(Debug, Default)]
struct Ways {
    nodes: Arc<Nodes>,
    links: Vec<Arc<dyn Link>>,
}

impl AnyOf {
    /// From now on these, a way to each of the listed `nodes`, in their order.
    pub(crate) fn set(&self, nodes: Arc<Nodes>, links: Vec<Arc<dyn Link>>) {
        self.0.store(Arc::new(Ways { nodes, links }));
    }
}

/// A connection that is made. Dropped after a while, as by its time-out, it counts as failed.
struct Trying {
    place: Option<Place>,
    since: Instant,
}

/// A client that leaves at once says nothing of the node.
const SLOW: Duration = Duration::from_millis(500);

impl Trying {
    fn failed(&mut self) {
        if let Some(place) = self.place.take() {
            place.failed(clock::now());
        }
    }
}

impl Drop for Trying {
    fn drop(&mut self) {
        if clock::now().saturating_duration_since(self.since) >= SLOW {
            self.failed();
        }
    }
}

#[async_trait]
impl Link for AnyOf {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Line>) -> Result<Keeper, UpstreamError> {
        let ways = self.0.load_full();
        let place = ways.nodes.choose(&[], clock::now(), fastrand::u64(..));
        let chosen = place.and_then(|place| Some((ways.links.get(place.index)?, place)));
        let Some((link, place)) = chosen else { return Err(UpstreamError::Unavailable("there is no node".into())) };
        let mut trying = Trying { place: Some(place), since: clock::now() };
        let keeper = match link.connect(connection, lines).await {
            Ok(keeper) => keeper,
            Err(error) => {
                trying.failed();
                return Err(error);
            }
        };
        let place = trying.place.take();
        Ok(Box::pin(async move {
            keeper.await;
            drop(place);
        }))
    }

    fn wants_heads(&self) -> bool {
        self.0.load().links.iter().any(|link| link.wants_heads())
    }

    /// One that could not be reached is left alone, so that each try goes to another.
    fn tries(&self) -> usize {
        self.0.load().nodes.len()
    }
}
