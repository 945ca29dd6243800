//! Which way a message goes: as it is, or by the rules of the other era.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Either;
use http::Response;
use mcp_guard::middleware::{McpRequest, Upstream, UpstreamError};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::answer::EraBody;
use super::detect::Detected;
use super::{NodeUpstream, to_legacy};
use crate::config::Era;

/// A node, for clients of both eras.
pub struct Eras<U: NodeUpstream> {
    upstream: U,
    legacy: to_legacy::Node<U>,
    era: Era,
    detected: Detected,
}

impl<U: NodeUpstream> Eras<U> {
    /// The node behind `upstream`, which speaks as `era` says.
    pub fn new(upstream: U, era: Era) -> Self {
        let legacy = to_legacy::Node::new(upstream.clone(), Arc::default());
        Self { upstream, legacy, era, detected: Detected::default() }
    }

    /// The same node by connections of its own, for another runtime.
    #[must_use]
    pub fn by(&self, upstream: U) -> Self {
        let legacy = self.legacy.by(upstream.clone());
        Self { upstream, legacy, era: self.era, detected: self.detected.clone() }
    }

    /// What ends the sessions that wait too long.
    pub fn sweeper(&self) -> Sweeper<U> {
        Sweeper(self.legacy.clone())
    }
}

impl<U: NodeUpstream> fmt::Debug for Eras<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eras").field("era", &self.era).finish_non_exhaustive()
    }
}

impl<U: NodeUpstream> Upstream for Eras<U> {
    type Body = EraBody<U::Body>;

    fn send(&self, request: McpRequest) -> impl Future<Output = Reply<U>> + Send {
        if request.call.revision.is_stateless() && self.era != Era::AsIs {
            return Either::Right(Box::pin(self.stateless(request)));
        }
        Either::Left(self.as_it_is(request))
    }
}

impl<U: NodeUpstream> Eras<U> {
    fn as_it_is(&self, request: McpRequest) -> impl Future<Output = Reply<U>> + Send {
        self.upstream.send(request).map(|answered| answered.map(EraBody::node))
    }

    /// Sends a message of the stateless revision.
    async fn stateless(&self, request: McpRequest) -> Reply<U> {
        let is_legacy = match self.era {
            Era::Auto => !self.detected.is_stateless(&self.upstream, &request).await?,
            Era::Legacy => true,
            Era::AsIs => false,
        };
        if is_legacy { self.legacy.serve(request).await } else { self.as_it_is(request).await }
    }
}

type Reply<U> = Result<Response<EraBody<<U as Upstream>::Body>>, UpstreamError>;

/// Ends what clients have left behind.
pub struct Sweeper<U: NodeUpstream>(to_legacy::Node<U>);

const INTERVAL: Duration = Duration::from_secs(10);

#[async_trait::async_trait]
impl<U: NodeUpstream> BackgroundService for Sweeper<U> {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => self.0.sweep(false).await,
                _ = shutdown.changed() => return self.0.sweep(true).await,
            }
        }
    }
}

impl<U: NodeUpstream> fmt::Debug for Sweeper<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweeper").finish_non_exhaustive()
    }
}
