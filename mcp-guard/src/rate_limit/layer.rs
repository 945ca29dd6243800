//! Puts rate limits around a service.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use tower::Layer;

use super::counters::Counters;
use super::decision::Decision;
use super::headers::Headers;
use super::limiter::RateLimiter;
use super::rules::RateLimits;
use super::service::RateLimit;
use crate::call::Call;
use crate::config::ToolPolicy;
use crate::middleware::{Doorkeeper, Handler, McpService, Node, clock};

/// Refuses calls that come faster than [`RateLimits`] allow, with 429 and the exact time to wait.
///
/// Everything that one layer wraps, and its clones wrap, shares one set of allowances.
///
/// The client's address is that in the request's [`Client`](crate::middleware::Client) extension, which whoever accepts
/// connections must put there. Without it all clients share one allowance, which is safe and hardly what is wanted.
///
/// ```
/// use std::net::{IpAddr, Ipv4Addr};
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use mcp_guard::middleware::Client;
/// use mcp_guard::rate_limit::{KeyPart, RateLimitLayer, RateLimitPolicy, RateLimits};
/// use tower::{Layer, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = tower::service_fn(|_: Request<Full<Bytes>>| async {
///     let answer = Full::<Bytes>::from(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
///     Response::builder().header("content-type", "application/json").body(answer)
/// });
/// let rule = RateLimitPolicy::new("per-client", &[KeyPart::Client], "1/m".parse()?)?;
/// let server = RateLimitLayer::new(&RateLimits::new(vec![rule])?).layer(server);
///
/// for status in [200, 429] {
///     let request = Request::post("/mcp")
///         .header("host", "localhost")
///         .header("content-type", "application/json")
///         .extension(Client(IpAddr::V4(Ipv4Addr::LOCALHOST)))
///         .body(Full::<Bytes>::from(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#))?;
///     let response = server.clone().oneshot(request).await?;
///     assert_eq!(response.status(), status);
///     assert_eq!(response.headers()["ratelimit-policy"], "\"per-client\";q=1;w=60");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimitLayer {
    limiter: Arc<RateLimiter>,
    counters: Arc<Counters>,
    headers: Option<Arc<Headers>>,
    tools: Arc<[ToolPolicy]>,
    subject_of: Option<SubjectOf>,
    after_doorkeeper: bool,
}

type SubjectOf = Arc<dyn Fn(&Parts, &Call) -> Option<Box<str>> + Send + Sync>;

impl RateLimitLayer {
    /// Whole allowances for everybody under `limits`, from now on.
    pub fn new(limits: &RateLimits) -> Self {
        Self {
            limiter: Arc::new(RateLimiter::new(limits, clock::now())),
            counters: Arc::new(Counters::new(limits)),
            headers: Some(Arc::new(Headers::new(limits))),
            tools: Arc::new([]),
            subject_of: None,
            after_doorkeeper: false,
        }
    }

    /// The layer for other `limits` and `tools` that succeeds this one: what was spent under rules that are the same in all
    /// stays spent. Services that this layer wraps go on under its own.
    #[must_use]
    pub fn succeeded(&self, limits: &RateLimits, tools: &[ToolPolicy]) -> Self {
        Self {
            limiter: Arc::new(self.limiter.succeeded(limits)),
            counters: Arc::new(Counters::new(limits)),
            headers: self.headers.as_ref().map(|_| Arc::new(Headers::new(limits))),
            tools: tools.into(),
            ..self.clone()
        }
    }

    /// Lets calls of tools cost what the first of `tools` that means them says; without it, each costs 1.
    #[must_use]
    pub fn with_costs(mut self, tools: &[ToolPolicy]) -> Self {
        self.tools = tools.into();
        self
    }

    /// Lets `subject_of` say who a caller is, for rules on [`KeyPart::Subject`](super::KeyPart::Subject) and for
    /// whatever lies further in; where it says `None`, [`Call::subject`] stays what it was.
    ///
    /// ```
    /// # use mcp_guard::rate_limit::{RateLimitLayer, RateLimits};
    /// let by_api_key = RateLimitLayer::new(&RateLimits::default())
    ///     .key_with(|head, _call| Some(head.headers.get("x-api-key")?.to_str().ok()?.into()));
    /// ```
    #[must_use]
    pub fn key_with(mut self, subject_of: impl Fn(&Parts, &Call) -> Option<Box<str>> + Send + Sync + 'static) -> Self {
        self.subject_of = Some(Arc::new(subject_of));
        self
    }

    /// Leaves the `RateLimit` and `RateLimit-Policy` fields out; by default answers and refusals have them.
    #[must_use]
    pub fn without_headers(mut self) -> Self {
        self.headers = None;
        self
    }

    /// Counts on [`doorkeeper`](Self::doorkeeper) being asked for each request before.
    #[must_use]
    pub fn after_doorkeeper(mut self) -> Self {
        self.after_doorkeeper = true;
        self
    }

    /// Asks the rules that look at the client's address alone, before a body is read.
    ///
    /// For [`Settings::doorkeeper`](crate::middleware::Settings::doorkeeper), together with
    /// [`after_doorkeeper`](Self::after_doorkeeper): else those rules count each call twice.
    pub fn doorkeeper(&self) -> Doorkeeper {
        let (limiter, counters) = (Arc::clone(&self.limiter), Arc::clone(&self.counters));
        Arc::new(move |client, now| {
            let decision = limiter.before_body(client, now);
            counters.evicted(limiter.take_evictions());
            match decision {
                Decision::Allow(_) => Ok(()),
                Decision::Deny(denial) => {
                    counters.limited(&denial.standing());
                    Err(limiter.refuse(&denial))
                }
            }
        })
    }

    /// The allowances, shared with everything that this layer wraps.
    pub fn limiter(&self) -> Arc<RateLimiter> {
        Arc::clone(&self.limiter)
    }

    /// Limits the calls that reach `next`.
    pub fn wrap<H: Handler>(&self, next: H) -> RateLimit<H> {
        RateLimit::new(next, self.clone())
    }

    /// Who makes `call`, where that is for `key_with` to say.
    pub(super) fn subject(&self, head: &Parts, call: &Call) -> Option<Box<str>> {
        self.subject_of.as_ref().and_then(|subject_of| subject_of(head, call))
    }

    pub(super) fn decide(&self, call: &Call, now: Instant) -> Decision {
        let cost = self.cost(call);
        let decision = if self.after_doorkeeper {
            self.limiter.after_body(call, cost, now)
        } else {
            self.limiter.decide(call, cost, now)
        };
        self.counters.evicted(self.limiter.take_evictions());
        if let Decision::Deny(denial) = &decision {
            self.counters.limited(&denial.standing());
        }
        decision
    }

    pub(super) fn headers(&self) -> Option<&Headers> {
        self.headers.as_deref()
    }

    fn cost(&self, call: &Call) -> NonZeroU32 {
        let policy = call.tool().and_then(|tool| self.tools.iter().find(|policy| policy.name.matches(tool)));
        policy.map_or(NonZeroU32::MIN, |policy| policy.cost)
    }
}

impl<S> Layer<S> for RateLimitLayer
where
    Node<S>: Handler,
{
    type Service = McpService<RateLimit<Node<S>>>;

    fn layer(&self, inner: S) -> Self::Service {
        McpService::new(self.wrap(Node::new(inner)))
    }
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer")
            .field("limiter", &self.limiter)
            .field("tools", &self.tools)
            .field("after_doorkeeper", &self.after_doorkeeper)
            .finish_non_exhaustive()
    }
}
