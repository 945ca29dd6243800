//! [`RetryLayer`].

use std::fmt;
use std::sync::Arc;

use tower::Layer;

use super::policy::RetryPolicy;
use super::repeatable::Hints;
use super::service::{Retry, Shared};
use crate::middleware::{Handler, McpService, Node};

/// Puts a [`Retry`] in front of a service.
///
/// What one layer, or clones of it, wraps shares its budget. Build a layer for each node.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use mcp_guard::retry::{RetryLayer, RetryPolicy};
/// use tower::{Layer, service_fn};
///
/// let node = service_fn(async |_: http::Request<Full<Bytes>>| Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::default())));
/// let guarded = RetryLayer::new(RetryPolicy::default()).layer(node);
/// # let _ = guarded;
/// ```
#[derive(Clone)]
pub struct RetryLayer {
    shared: Arc<Shared>,
    hints: Option<Arc<dyn Hints>>,
}

impl RetryLayer {
    /// Retries by `policy`, with a budget of its own.
    pub fn new(policy: RetryPolicy) -> Self {
        Self { shared: Arc::new(Shared::new(policy)), hints: None }
    }

    /// Asks `hints` what tools say about themselves; only believed if the policy trusts annotations.
    #[must_use]
    pub fn hints(mut self, hints: impl Hints + 'static) -> Self {
        self.hints = Some(Arc::new(hints));
        self
    }

    /// Puts retries in front of `next`.
    pub fn wrap<H: Handler>(&self, next: H) -> Retry<H> {
        Retry::new(next, Arc::clone(&self.shared), self.hints.clone())
    }
}

impl fmt::Debug for RetryLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryLayer").field("policy", self.shared.policy()).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for RetryLayer
where
    Node<S>: Handler,
{
    type Service = McpService<Retry<Node<S>>>;

    fn layer(&self, inner: S) -> Self::Service {
        McpService::new(self.wrap(Node::new(inner)))
    }
}
