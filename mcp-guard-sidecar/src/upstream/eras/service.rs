//! Which way a message goes: as it is, or by the rules of the other era.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Either;
use http::{Response, StatusCode};
use mcp_guard::call::{Kind, Method};
use mcp_guard::middleware::headers::SESSION;
use mcp_guard::middleware::{McpRequest, Upstream, UpstreamError, clock};
use mcp_guard::session::SessionId;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::answer::EraBody;
use super::detect::{Detected, discover, turns_client_away};
use super::params::Tools;
use super::{NodeUpstream, to_legacy, to_modern};
use crate::config::Era;
use crate::hand_over::{Exchange, Kept, STATELESS};
use crate::upstream::sessions::{SessionNode, SessionOptions};

/// A node, for clients of both eras.
pub struct Eras<U: NodeUpstream> {
    upstream: U,
    legacy: to_legacy::Node<U>,
    modern: SessionNode,
    /// What a stateless node's tools want to see in headers.
    tools: Arc<Tools>,
    /// Where those of legacy clients are the guard's own, though the node has some.
    own: Option<SessionNode>,
    /// Whether a legacy client was ever served by a stateless node.
    has_modern: Arc<AtomicBool>,
    era: Era,
    detected: Detected,
    /// Where sessions may be that are not here.
    exchange: Exchange,
}

impl<U: NodeUpstream> Eras<U> {
    /// The node behind `upstream`, which speaks as `era` says, and has so many `places` for calls at once; `sessions` are those
    /// of legacy clients with a stateless node.
    pub fn new(upstream: U, era: Era, places: usize, mut sessions: SessionOptions) -> Self {
        // The node knows nothing of them, so that nothing is lost with it.
        sessions.fails_over = true;
        let tools = Arc::<Tools>::default();
        Self {
            legacy: to_legacy::Node::new(upstream.clone(), places),
            modern: SessionNode::new(to_modern::Stateless::new(upstream.clone(), Arc::clone(&tools)), sessions),
            tools,
            upstream,
            own: None,
            has_modern: Arc::default(),
            era,
            detected: Detected::default(),
            exchange: Exchange::default(),
        }
    }

    /// Looks for sessions in `exchange` that are not here.
    #[must_use]
    pub fn with(mut self, exchange: Exchange) -> Self {
        self.exchange = exchange;
        self
    }

    /// The sessions that may be kept here.
    pub fn kept(&self) -> Vec<Kept> {
        let own = self.own.iter().map(|own| Kept { name: "own", node: own.clone(), are_some: always() });
        let are_some = match self.era {
            Era::Auto => Some(Arc::clone(&self.has_modern)),
            Era::Stateless => Some(always()),
            Era::Legacy | Era::AsIs => None,
        };
        let stateless = are_some.map(|are_some| Kept { name: STATELESS, node: self.modern.clone(), are_some });
        own.chain(stateless).collect()
    }

    /// Serves legacy clients in sessions of `own`.
    #[must_use]
    pub fn in_own_sessions(mut self, own: SessionNode) -> Self {
        self.own = Some(own);
        self
    }

    /// Other nodes are there now, with so many `places` for calls at once; of `options` the time-outs count.
    pub fn other_nodes(&self, places: usize, options: &SessionOptions) {
        self.detected.forget();
        self.legacy.other_nodes(places);
        self.tools.forget();
        self.modern.renew(options.clone());
        if let Some(own) = &self.own {
            own.renew(options.clone());
        }
    }

    /// The same node by connections of its own, for another runtime.
    #[must_use]
    pub fn by(&self, upstream: U) -> Self {
        Self {
            legacy: self.legacy.by(upstream.clone()),
            modern: self.modern.clone(),
            tools: Arc::clone(&self.tools),
            own: self.own.clone(),
            upstream,
            has_modern: Arc::clone(&self.has_modern),
            era: self.era,
            detected: self.detected.clone(),
            exchange: self.exchange.clone(),
        }
    }

    /// What ends the sessions that wait too long.
    pub fn sweeper(&self) -> Sweeper<U> {
        Sweeper { legacy: self.legacy.clone() }
    }

    /// Ends all sessions that are kept here.
    pub async fn shutdown(&self) {
        let own = async {
            if let Some(own) = &self.own {
                own.shutdown().await;
            }
        };
        tokio::join!(self.legacy.sweep(true), self.modern.shutdown(), own);
    }

    fn as_it_is(&self, request: McpRequest) -> impl Future<Output = Reply<U>> + Send {
        self.upstream.send(request).map(|answered| answered.map(EraBody::node))
    }

    /// Sends a message of the stateless revision.
    async fn stateless(&self, request: McpRequest) -> Reply<U> {
        let is_legacy = match self.era {
            Era::Auto => !self.detected.is_stateless(&self.upstream, &request).await?,
            Era::Legacy => true,
            Era::Stateless | Era::AsIs => false,
        };
        if is_legacy { self.legacy.serve(request).await } else { self.as_it_is(request).await }
    }

    /// Sends a message of a legacy client to a node that may turn out to be stateless.
    async fn legacy(&self, request: McpRequest) -> Reply<U> {
        let begins = request.call.method.is(Method::INITIALIZE);
        if self.era == Era::Stateless {
            if begins {
                // Who is not let in is told so by the node itself.
                let answered = discover(&self.upstream, &request).await?;
                if turns_client_away(answered.status()) {
                    return Ok(EraBody::node(answered));
                }
            }
            return self.in_session(request).await;
        }
        if begins {
            let answered = self.upstream.send(request.clone()).await?;
            let is_refused = answered.status().is_client_error() && !turns_client_away(answered.status());
            if !is_refused || !self.detected.is_stateless_only(&self.upstream, &request).await {
                return Ok(EraBody::node(answered));
            }
            self.has_modern.store(true, Ordering::Relaxed);
            return self.in_session(request).await;
        }
        if self.modern.has(&request.call) {
            return self.in_session(request).await;
        }
        let answered = self.upstream.send(request.clone()).await?;
        // A stateless node does not know what to make of a session that was the guard's: it is not there any more.
        let was_ours = request.call.session.as_deref().and_then(SessionId::parse).is_some();
        if was_ours && answered.status() == StatusCode::BAD_REQUEST {
            return self.in_session(request).await;
        }
        Ok(EraBody::node(answered))
    }

    /// Sends a message in a session of the guard's own, which the node knows nothing of.
    async fn in_session(&self, request: McpRequest) -> Reply<U> {
        Upstream::send(&self.modern, request).await.map(EraBody::session)
    }

    /// Sends a message in a session of the guard's own, which is one of the node's, unless the node turns out to have none.
    async fn in_own(&self, own: SessionNode, request: McpRequest) -> Reply<U> {
        if self.era != Era::Auto {
            return Upstream::send(&own, request).await.map(EraBody::session);
        }
        if self.has_modern.load(Ordering::Relaxed) && self.modern.has(&request.call) {
            return self.in_session(request).await;
        }
        let begins = request.call.method.is(Method::INITIALIZE);
        let answered = Upstream::send(&own, request.clone()).await?;
        let is_refused = begins && !answered.headers().contains_key(SESSION);
        if is_refused && self.detected.is_stateless_only(&self.upstream, &request).await {
            self.has_modern.store(true, Ordering::Relaxed);
            return self.in_session(request).await;
        }
        Ok(EraBody::session(answered))
    }

    fn here(&self, request: McpRequest) -> impl Future<Output = Reply<U>> + Send {
        if request.call.revision.is_stateless() {
            if self.era != Era::AsIs {
                return Either::Right(self.stateless(request).boxed());
            }
        } else if let Some(own) = &self.own {
            return Either::Right(self.in_own(own.clone(), request).boxed());
        } else if self.may_be_modern(&request) {
            return Either::Right(self.legacy(request).boxed());
        }
        Either::Left(self.as_it_is(request))
    }

    /// The same in a session that may be in another process still.
    async fn fetched(&self, mut request: McpRequest) -> Reply<U> {
        if request.call.kind == Kind::End {
            if self.exchange.end_elsewhere(&request).await {
                return Ok(EraBody::empty(StatusCode::NO_CONTENT));
            }
            let id = request.call.session.as_deref().and_then(SessionId::parse);
            let answered = self.here(request).await;
            if let (Some(id), Ok(StatusCode::NO_CONTENT)) = (id, answered.as_ref().map(Response::status)) {
                self.exchange.ended(id);
            }
            return answered;
        }
        self.exchange.fetch(&request).await?;
        request.now = clock::now();
        self.here(request).await
    }

    /// Whether a message of a legacy client may concern a stateless node.
    fn may_be_modern(&self, request: &McpRequest) -> bool {
        match self.era {
            Era::Legacy | Era::AsIs => false,
            Era::Stateless => true,
            // Most nodes are none, so that most messages cost no more than this.
            Era::Auto => request.call.method.is(Method::INITIALIZE) || self.has_modern.load(Ordering::Relaxed),
        }
    }
}

/// That there may be sessions.
pub(crate) fn always() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

type Reply<U> = Result<Response<EraBody<<U as Upstream>::Body>>, UpstreamError>;

impl<U: NodeUpstream> Upstream for Eras<U> {
    type Body = EraBody<U::Body>;

    fn send(&self, request: McpRequest) -> impl Future<Output = Reply<U>> + Send {
        if self.exchange.is_open() {
            return Either::Right(self.fetched(request).boxed());
        }
        Either::Left(self.here(request))
    }
}

impl<U: NodeUpstream> fmt::Debug for Eras<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eras").field("era", &self.era).finish_non_exhaustive()
    }
}

/// Ends what clients have left behind.
pub struct Sweeper<U: NodeUpstream> {
    legacy: to_legacy::Node<U>,
}

const INTERVAL: Duration = Duration::from_secs(10);

#[async_trait::async_trait]
impl<U: NodeUpstream> BackgroundService for Sweeper<U> {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep(INTERVAL) => self.legacy.sweep(false).await,
                _ = shutdown.changed() => return,
            }
        }
    }
}

impl<U: NodeUpstream> fmt::Debug for Sweeper<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweeper").finish_non_exhaustive()
    }
}
