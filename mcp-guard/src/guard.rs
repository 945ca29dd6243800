//! All concerns as one layer. Their order is written here and nowhere else (invariant I2, ADR 0002).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use tower::Layer;

use crate::breaker::{Breaker, BreakerLayer};
use crate::call::Call;
use crate::config::GuardConfig;
use crate::middleware::{Deadline, EdgePolicy, Handler, McpService, Node, Record, Settings};
use crate::queue::{Pressure, Queue, QueueLayer};
use crate::rate_limit::{RateLimit, RateLimitLayer};
use crate::retry::{Retry, RetryLayer};
use crate::trace::{Trace, TraceLayer, TraceUpstream};
use crate::validation::{Validation, ValidationLayer};

/// What a message goes through, outermost first.
pub type GuardStack<S> = Record<Trace<RateLimit<Validation<Queue<Deadline<Retry<Breaker<TraceUpstream<Node<S>>>>>>>>>>;

/// The whole guard as one layer, around any http service that speaks MCP.
///
/// Services made by one layer, or by clones of it, share its state: allowances, queue, breakers, catalogue. So
/// make one layer for each node, and clone it for each listener or thread.
///
/// Whoever accepts connections has to say from where each comes, or all clients are one client to the rate limits, and the
/// default one (`per-client`, 100/s) holds for all of them together:
///
/// ```
/// # use std::net::{Ipv4Addr, SocketAddr};
/// # let mut request = http::Request::new(());
/// # let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
/// request.extensions_mut().insert(mcp_guard::middleware::Client(peer.ip()));
/// ```
///
/// In axum `peer` is in `ConnectInfo`, see the example `axum_server`.
///
/// ```
/// use mcp_guard::GuardLayer;
/// use mcp_guard::config::GuardConfig;
/// use tower::{ServiceBuilder, service_fn};
///
/// # async fn answer(_: http::Request<http_body_util::Full<bytes::Bytes>>)
/// # -> Result<http::Response<http_body_util::Full<bytes::Bytes>>, std::convert::Infallible> { Ok(http::Response::default()) }
/// let mcp_server = service_fn(answer); // axum's, hyper's or rmcp's
/// let guarded = ServiceBuilder::new().layer(GuardLayer::new(GuardConfig::default())).service(mcp_server);
/// # let _: mcp_guard::middleware::McpService<_> = guarded;
/// ```
#[derive(Clone)]
pub struct GuardLayer {
    shared: Arc<Layers>,
    rate_limit: RateLimitLayer,
    edge: EdgePolicy,
    call_timeout: Option<Duration>,
    total_timeout: Option<Duration>,
}

/// The concerns' own layers.
struct Layers {
    config: GuardConfig,
    trace: TraceLayer,
    validation: ValidationLayer,
    queue: QueueLayer,
    retry: RetryLayer,
    breaker: BreakerLayer,
}

impl GuardLayer {
    /// A guard that calls its node `upstream` in metrics.
    pub fn new(config: GuardConfig) -> Self {
        Self::for_node(config, "upstream")
    }

    /// A guard for the node called `node` in metrics.
    pub fn for_node(config: GuardConfig, node: &str) -> Self {
        let validation = ValidationLayer::new(config.validation.clone());
        // The doorkeeper of `Settings` asks the rules on clients before a body is read.
        let rate_limit = RateLimitLayer::new(&config.rate_limits).with_costs(&config.tools).after_doorkeeper();
        let layers = Layers {
            trace: TraceLayer::new(config.trace.clone()),
            queue: QueueLayer::new(config.queue.clone(), &config.tools),
            retry: RetryLayer::new(config.retry).hints(validation.catalog()),
            breaker: BreakerLayer::new(config.breaker, node),
            validation,
            config,
        };
        Self {
            shared: Arc::new(layers),
            rate_limit,
            edge: EdgePolicy::default(),
            call_timeout: None,
            total_timeout: None,
        }
    }

    /// The guard for another `config` that succeeds this one, for the same node. Services that this layer wraps go on as they
    /// are; put this one around the node for calls to come.
    ///
    /// | of | goes over to the new one |
    /// | --- | --- |
    /// | rate limits | what callers have spent, under rules that are the same in all |
    /// | breakers | what is tripped, and stays so at most as long as may be now; counts of results too if the policy is the same |
    /// | the queue | everything if its policy and `tools` are the same; else the limit that was learned |
    /// | retries | the budget, if the policy is the same |
    /// | learned tools | everything; under another policy of validation they are listed anew |
    #[must_use]
    pub fn succeeded(&self, config: GuardConfig) -> Self {
        let before = &*self.shared;
        let has_same_tools = before.config.tools == config.tools;
        let validation = if before.config.validation == config.validation {
            before.validation.clone()
        } else {
            before.validation.succeeded(config.validation.clone())
        };
        let queue = if has_same_tools && before.config.queue == config.queue {
            before.queue.clone()
        } else {
            before.queue.succeeded(config.queue.clone(), &config.tools)
        };
        let retry = if before.config.retry == config.retry {
            before.retry.clone()
        } else {
            RetryLayer::new(config.retry).hints(validation.catalog())
        };
        if before.config.breaker != config.breaker {
            before.breaker.set_policy(config.breaker);
        }
        let rate_limit = self.rate_limit.succeeded(&config.rate_limits, &config.tools);
        let (trace, breaker) = (TraceLayer::new(config.trace.clone()), before.breaker.clone());
        let layers = Layers { config, trace, validation, queue, retry, breaker };
        Self { shared: Arc::new(layers), rate_limit, ..self.clone() }
    }

    /// Calls the node `node` in metrics from now on, in all that shares state with this layer: it stands for another one, or for
    /// others too.
    pub fn set_node(&self, node: &str) {
        self.shared.breaker.set_node(node);
    }

    /// Which requests may come in at all; by default any path, host and origin.
    #[must_use]
    pub fn edge(mut self, edge: EdgePolicy) -> Self {
        self.edge = edge;
        self
    }

    /// How long a call may take from when it is sent, where its tool has no time-out of its own; by default for ever.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = Some(timeout);
        self
    }

    /// How long the answer to a request may take in all, a stream's too, from when it is sent, where its tool has no time-out
    /// of its own; by default as long as it likes. Streams that only listen are not meant.
    #[must_use]
    pub fn total_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.total_timeout = timeout.into();
        self
    }

    /// Lets `subject_of` say who a caller is, for rate limits with `subject` in `key` or `match`, and for the queue, where
    /// callers take turns. Where it says `None`, the caller's subject is the [`Subject`](crate::middleware::Subject) that the
    /// host put into the request's extensions, if it did.
    ///
    /// ```
    /// # use mcp_guard::{GuardLayer, config::GuardConfig};
    /// # fn config() -> Result<GuardConfig, Box<dyn std::error::Error>> {
    /// #     use mcp_guard::rate_limit::{KeyPart, RateLimitPolicy, RateLimits};
    /// #     let mut config = GuardConfig::default();
    /// #     let rule = RateLimitPolicy::new("per-key", &[KeyPart::Subject], "10/s".parse()?)?;
    /// #     config.rate_limits = RateLimits::new(vec![rule])?;
    /// #     Ok(config)
    /// # }
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = config()?; // rate_limits: [{name: per-key, key: [subject], rate: 10/s}]
    /// let layer = GuardLayer::new(config)
    ///     .key_with(|head, _call| Some(head.headers.get("x-api-key")?.to_str().ok()?.into()));
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn key_with(mut self, subject_of: impl Fn(&Parts, &Call) -> Option<Box<str>> + Send + Sync + 'static) -> Self {
        self.rate_limit = self.rate_limit.key_with(subject_of);
        self
    }

    /// Where a host that knows how short memory is says so: what is least worth its memory is refused then. It stays the same
    /// for all guards that succeed this one.
    pub fn pressure(&self) -> Pressure {
        self.shared.queue.pressure()
    }

    /// Forgets what is known of the tools, since calls go to another node now: the next one has them listed again.
    ///
    /// For a host that knows when its node was replaced, or came back after it was gone. What the node itself says
    /// (`list_changed`, another `serverInfo`) is noticed without that.
    pub fn forget_tools(&self) {
        self.shared.validation.catalog().forget();
    }

    /// What must hold before a message reaches the concerns.
    fn settings(&self) -> Settings {
        let limits = self.shared.config.limits.clone();
        Settings { limits, edge: self.edge.clone(), doorkeeper: Some(self.rate_limit.doorkeeper()) }
    }

    /// The order of the concerns, innermost first, one reason each.
    fn stack<S>(&self, service: S) -> GuardStack<S>
    where
        Node<S>: Handler,
    {
        let layers = &self.shared;
        let node = Node::new(service).answer_bytes_max(layers.config.limits.response_bytes_max());
        // Each try is a span of its own, so that a trace shows what was repeated.
        let node = layers.trace.wrap_upstream(node);
        // The breaker sees each try, and stops the next one.
        let node = layers.breaker.wrap(node);
        // Retry is inside the queue: a call that is repeated keeps its place, and load does not multiply.
        let node = layers.retry.wrap(node);
        // A call's time begins when it leaves the queue, and all its tries share it.
        let node = Deadline::new(node, self.call_timeout, &layers.config.tools).total(self.total_timeout);
        // What is refused above never takes a place from what can be served.
        let node = layers.queue.wrap(node);
        // A message is checked once, not once a try, and only if the caller may send it at all.
        let node = layers.validation.wrap(node);
        // The cheapest refusal comes first.
        let node = self.rate_limit.wrap(node);
        // Refusals belong into the caller's trace too.
        let node = layers.trace.wrap(node);
        // Everything is counted once, whatever becomes of it.
        Record::new(node)
    }
}

impl<S> Layer<S> for GuardLayer
where
    Node<S>: Handler,
{
    type Service = McpService<GuardStack<S>>;

    fn layer(&self, service: S) -> Self::Service {
        McpService::with_settings(self.stack(service), self.settings())
    }
}

impl fmt::Debug for GuardLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardLayer")
            .field("config", &self.shared.config)
            .field("edge", &self.edge)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
