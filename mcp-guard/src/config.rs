//! The `guard:` section of the config file: the policies of all concerns in one value.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::breaker::BreakerPolicy;
use crate::limits::JSON_DEPTH_MAX;
use crate::matcher::Pattern;
use crate::queue::QueuePolicy;
use crate::rate_limit::RateLimits;
use crate::retry::RetryPolicy;
use crate::trace::TracePolicy;
use crate::units::{ByteSize, Span};
use crate::validation::ValidationPolicy;

/// Everything that [`GuardLayer`](crate::GuardLayer) can be told. Every key has a default.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GuardConfig {
    /// Sizes, counts and times that bound what a client can make the guard hold.
    pub limits: LimitsPolicy,
    /// How often callers may call.
    pub rate_limits: RateLimits,
    /// Which messages are checked, and what comes of a fault.
    pub validation: ValidationPolicy,
    /// How many calls the node works on at once, and how many wait.
    pub queue: QueuePolicy,
    /// What holds for single tools; the first whose name matches counts.
    pub tools: Vec<ToolPolicy>,
    /// When to stop calling what keeps failing.
    pub breaker: BreakerPolicy,
    /// What is sent again, and how often.
    pub retry: RetryPolicy,
    /// What is passed on of a caller's trace.
    pub trace: TracePolicy,
}

impl GuardConfig {
    /// The first entry of `tools` that means `tool`.
    pub fn tool(&self, tool: &str) -> Option<&ToolPolicy> {
        self.tools.iter().find(|policy| policy.name.matches(tool))
    }
}

/// What holds for the tools that one pattern means.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ToolPolicy {
    /// Which tools, as in `report_*`.
    pub name: Pattern,
    /// How many calls of each such tool may run at once; default: no bound of its own.
    #[serde(default)]
    pub concurrency: Option<NonZeroU32>,
    /// How long a call may take from when it is sent, a stream's answer included; default: the upstream's `first_byte`, which bounds
    /// only the beginning of a stream.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// How many of a rate limit's calls one call spends; default 1.
    #[serde(default = "one")]
    pub cost: NonZeroU32,
}

fn one() -> NonZeroU32 {
    NonZeroU32::MIN
}

/// A limit that cannot be meant.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidLimits {
    /// Deeper than the guard reads.
    #[error("json_depth is {0}: allowed is 1 to {JSON_DEPTH_MAX}")]
    JsonDepth(u32),
    /// No body at all would fit.
    #[error("{0} is 0: at least 1 byte must be allowed")]
    ZeroSize(&'static str),
    /// Everything would time out.
    #[error("{0} is 0: must be longer")]
    ZeroTime(&'static str),
}

/// Sizes, counts and times that bound what a client can make the guard hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "LimitsSpec", into = "LimitsSpec")]
#[schemars(with = "LimitsSpec")]
pub struct LimitsPolicy(LimitsSpec);

#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Limits")]
struct LimitsSpec {
    /// Largest request body.
    body: ByteSize,
    /// Largest answer, and largest event of a stream.
    response: ByteSize,
    /// Deepest nesting of arrays and objects in a request, 1 to 120.
    json_depth: u32,
    /// Most messages in a batch.
    batch: NonZeroUsize,
    /// Most client connections.
    connections: NonZeroUsize,
    /// Most connections of one client: of an IPv4 address, or of an IPv6 network (its first 64 bits).
    connections_per_client: NonZeroUsize,
    /// Most sessions that the guard keeps itself.
    sessions: NonZeroUsize,
    /// How long a session may be silent.
    session_idle: Span,
    /// How long a new connection may take until the head of its first request has come.
    header_timeout: Span,
    /// How long a connection is kept after an answer until the head of the next request has come. Longer than what is in
    /// front of the guard keeps its own (mostly 60s), so that the guard is not the one that closes.
    keep_alive: Span,
    /// How long the body of a request may take.
    body_timeout: Span,
    /// Memory above which new work is shed.
    memory: ByteSize,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            body: ByteSize(4 << 20),
            response: ByteSize(16 << 20),
            json_depth: 64,
            batch: count(64),
            connections: count(10_000),
            connections_per_client: count(1_000),
            sessions: count(10_000),
            session_idle: Span(Duration::from_secs(3600)),
            header_timeout: Span(Duration::from_secs(10)),
            keep_alive: Span(Duration::from_secs(75)),
            body_timeout: Span(Duration::from_secs(30)),
            memory: ByteSize(1 << 30),
        }
    }
}

const fn count(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
}

impl TryFrom<LimitsSpec> for LimitsPolicy {
    type Error = InvalidLimits;

    fn try_from(spec: LimitsSpec) -> Result<Self, InvalidLimits> {
        if spec.json_depth == 0 || spec.json_depth > JSON_DEPTH_MAX {
            return Err(InvalidLimits::JsonDepth(spec.json_depth));
        }
        for (name, size) in [("body", spec.body), ("response", spec.response), ("memory", spec.memory)] {
            if size.0 == 0 {
                return Err(InvalidLimits::ZeroSize(name));
            }
        }
        for (name, time) in [
            ("session_idle", spec.session_idle),
            ("header_timeout", spec.header_timeout),
            ("keep_alive", spec.keep_alive),
            ("body_timeout", spec.body_timeout),
        ] {
            if time.0.is_zero() {
                return Err(InvalidLimits::ZeroTime(name));
            }
        }
        Ok(Self(spec))
    }
}

impl From<LimitsPolicy> for LimitsSpec {
    fn from(policy: LimitsPolicy) -> Self {
        policy.0
    }
}

impl LimitsPolicy {
    /// Largest request body in bytes.
    pub fn body_bytes_max(&self) -> usize {
        usize::try_from(self.0.body.0).unwrap_or(usize::MAX)
    }

    /// Largest answer in bytes.
    pub fn response_bytes_max(&self) -> usize {
        usize::try_from(self.0.response.0).unwrap_or(usize::MAX)
    }

    /// Deepest nesting in a request.
    pub fn json_depth_max(&self) -> u32 {
        self.0.json_depth
    }

    /// Most messages in a batch.
    pub fn batch_max(&self) -> usize {
        self.0.batch.get()
    }

    /// Most client connections.
    pub fn connections_max(&self) -> usize {
        self.0.connections.get()
    }

    /// Most connections of one client: of an IPv4 address, or of an IPv6 network.
    pub fn connections_per_client_max(&self) -> usize {
        self.0.connections_per_client.get()
    }

    /// Most sessions that the guard keeps itself.
    pub fn sessions_max(&self) -> usize {
        self.0.sessions.get()
    }

    /// How long a session may be silent.
    pub fn session_idle(&self) -> Duration {
        self.0.session_idle.0
    }

    /// How long a new connection may take until the head of its first request has come.
    pub fn header_timeout(&self) -> Duration {
        self.0.header_timeout.0
    }

    /// How long a connection is kept between an answer and the head of the next request.
    pub fn keep_alive(&self) -> Duration {
        self.0.keep_alive.0
    }

    /// How long the body of a request may take.
    pub fn body_timeout(&self) -> Duration {
        self.0.body_timeout.0
    }

    /// Memory above which new work is shed, in bytes.
    pub fn memory_bytes_max(&self) -> u64 {
        self.0.memory.0
    }
}
