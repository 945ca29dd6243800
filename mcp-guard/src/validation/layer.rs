//! [`ValidationLayer`].

use std::fmt;
use std::sync::Arc;

use tower::Layer;

use super::checks::Shared;
use super::handle::CatalogHandle;
use super::policy::ValidationPolicy;
use super::service::Validation;
use crate::middleware::{Handler, McpService, Node};

/// Puts a [`Validation`] in front of one upstream.
///
/// What one layer, or clones of it, wraps shares what is learned of the tools. Build a layer for each upstream.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use mcp_guard::validation::{ValidationLayer, ValidationPolicy};
/// use tower::{Layer, service_fn};
///
/// let node = service_fn(async |_: http::Request<Full<Bytes>>| Ok::<_, Infallible>(http::Response::new(Full::<Bytes>::default())));
/// let guarded = ValidationLayer::new(ValidationPolicy::default()).layer(node);
/// # let _ = guarded;
/// ```
#[derive(Clone)]
pub struct ValidationLayer {
    shared: Arc<Shared>,
}

impl ValidationLayer {
    /// Checks by `policy`; nothing is known of the tools yet.
    pub fn new(policy: ValidationPolicy) -> Self {
        Self { shared: Arc::new(Shared::new(policy)) }
    }

    /// The layer for another `policy` that succeeds this one, with the same catalogue of tools, which are listed anew when they
    /// are needed next.
    #[must_use]
    pub fn succeeded(&self, policy: ValidationPolicy) -> Self {
        Self { shared: Arc::new(self.shared.succeeded(policy)) }
    }

    /// What is learned of the tools, for those who need their hints or have to say that the node changed.
    pub fn catalog(&self) -> CatalogHandle {
        self.shared.catalog().clone()
    }

    /// Puts the checks in front of `next`.
    pub fn wrap<H: Handler>(&self, next: H) -> Validation<H> {
        Validation::new(next, Arc::clone(&self.shared))
    }
}

impl fmt::Debug for ValidationLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidationLayer").field("policy", self.shared.policy()).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ValidationLayer
where
    Node<S>: Handler,
{
    type Service = McpService<Validation<Node<S>>>;

    fn layer(&self, inner: S) -> Self::Service {
        McpService::new(self.wrap(Node::new(inner)))
    }
}
