//! [`QueueLayer`].

use tower::Layer;

use super::gate::Gate;
use super::policy::QueuePolicy;
use super::pressure::Pressure;
use super::service::Queue;
use crate::config::ToolPolicy;
use crate::middleware::{Handler, McpService, Node};

/// Puts a [`Queue`] in front of one node.
///
/// What one layer, or clones of it, wraps shares its places. Build a layer for each node.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use mcp_guard::queue::{QueueLayer, QueuePolicy};
/// use tower::{Layer, service_fn};
///
/// type Response = http::Response<Full<Bytes>>;
///
/// let node = service_fn(async |_: http::Request<Full<Bytes>>| Ok::<_, Infallible>(Response::default()));
/// let guarded = QueueLayer::new(QueuePolicy::default(), &[]).layer(node);
/// # let _ = guarded;
/// ```
#[derive(Clone, Debug)]
pub struct QueueLayer {
    gate: Gate,
    pressure: Pressure,
}

impl QueueLayer {
    /// A queue as `policy` has it, in which the calls of single tools are capped by `concurrency` in `tools`.
    ///
    /// The first entry of `tools` whose name matches counts, also if it sets no cap.
    pub fn new(policy: QueuePolicy, tools: &[ToolPolicy]) -> Self {
        Self { gate: Gate::new(policy, tools), pressure: Pressure::default() }
    }

    /// The layer for another `policy` and other `tools` that succeeds this one: an empty queue, whose limit begins where this
    /// one's is. Calls that this layer let in or keeps waiting go on in its own, and do not count in the new one.
    #[must_use]
    pub fn succeeded(&self, policy: QueuePolicy, tools: &[ToolPolicy]) -> Self {
        Self { gate: self.gate.succeeded(policy, tools), pressure: self.pressure.clone() }
    }

    /// Where a host that knows how short memory is says so: what is least worth its memory is refused then.
    pub fn pressure(&self) -> Pressure {
        self.pressure.clone()
    }

    /// Puts the queue in front of `next`.
    pub fn wrap<H: Handler>(&self, next: H) -> Queue<H> {
        Queue::new(next, self.gate.clone(), self.pressure.clone())
    }
}

impl<S> Layer<S> for QueueLayer
where
    Node<S>: Handler,
{
    type Service = McpService<Queue<Node<S>>>;

    fn layer(&self, inner: S) -> Self::Service {
        McpService::new(self.wrap(Node::new(inner)))
    }
}
