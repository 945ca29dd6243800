//! Sessions of the guard's own with one of several nodes.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_guard::middleware::{UpstreamError, clock};
use tokio::sync::mpsc::Receiver;

use super::nodes::Nodes;
use crate::upstream::sessions::{Connection, Keeper, Link};

/// Ways to nodes, of which each connection goes one.
#[derive(Debug)]
pub(crate) struct AnyOf {
    nodes: Arc<Nodes>,
    links: Vec<Arc<dyn Link>>,
}

impl AnyOf {
    /// A way to each of `nodes`, in their order.
    pub(crate) fn new(nodes: Arc<Nodes>, links: Vec<Arc<dyn Link>>) -> Self {
        Self { nodes, links }
    }
}

#[async_trait]
impl Link for AnyOf {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Bytes>) -> Result<Keeper, UpstreamError> {
        let place = self.nodes.choose(&[], clock::now(), fastrand::u64(..));
        let chosen = place.and_then(|place| Some((self.links.get(place.index)?, place)));
        let Some((link, place)) = chosen else { return Err(UpstreamError::Unavailable("there is no node".into())) };
        let keeper = link.connect(connection, lines).await.inspect_err(|_| place.failed(clock::now()))?;
        Ok(Box::pin(async move {
            keeper.await;
            drop(place);
        }))
    }

    fn wants_heads(&self) -> bool {
        self.links.iter().any(|link| link.wants_heads())
    }

    /// One that could not be reached is left alone, so that each try goes to another.
    fn tries(&self) -> usize {
        self.nodes.len()
    }
}
