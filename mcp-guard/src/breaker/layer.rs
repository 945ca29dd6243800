//! [`BreakerLayer`].

use std::fmt;
use std::sync::Arc;

use tower::Layer;

use super::policy::BreakerPolicy;
use super::service::{Breaker, Shared};
use crate::middleware::{Handler, McpService, Node};

/// Puts a [`Breaker`] in front of one node.
///
/// What one layer, or clones of it, wraps shares its breakers. Build a layer for each node.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use mcp_guard::breaker::{BreakerLayer, BreakerPolicy};
/// use tower::{Layer, service_fn};
///
/// let node = service_fn(async |_: http::Request<Full<Bytes>>| Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::default())));
/// let guarded = BreakerLayer::new(BreakerPolicy::default(), "node-1").layer(node);
/// # let _ = guarded;
/// ```
#[derive(Clone)]
pub struct BreakerLayer {
    shared: Arc<Shared>,
}

impl BreakerLayer {
    /// Breakers for the node called `node`, which is the `node` label of `mcp_guard_breaker_state`.
    pub fn new(policy: BreakerPolicy, node: impl Into<Arc<str>>) -> Self {
        Self { shared: Arc::new(Shared::new(policy, node.into())) }
    }

    /// Goes on under another policy, in all that this layer wraps: what is tripped stays so, at most as long as may be now,
    /// and results are counted anew.
    pub fn set_policy(&self, policy: BreakerPolicy) {
        self.shared.set_policy(policy);
    }

    /// Calls the node something else from now on, in all that this layer wraps: it stands for another one, or for others too.
    /// Series under its old name end with a value that is no number.
    pub fn set_node(&self, node: &str) {
        self.shared.set_node(node);
    }

    /// Puts the breakers in front of `next`.
    pub fn wrap<H: Handler>(&self, next: H) -> Breaker<H> {
        Breaker::new(next, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for BreakerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerLayer").field("node", &self.shared.node()).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for BreakerLayer
where
    Node<S>: Handler,
{
    type Service = McpService<Breaker<Node<S>>>;

    fn layer(&self, inner: S) -> Self::Service {
        McpService::new(self.wrap(Node::new(inner)))
    }
}
