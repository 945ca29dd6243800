//! What the operator asks of a breaker.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::Span;

/// When a breaker trips, for how long, and what it takes to pass again. A value of this type is valid.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "BreakerSpec", into = "BreakerSpec")]
#[schemars(with = "BreakerSpec")]
pub struct BreakerPolicy(BreakerSpec);

/// The written form of a [`BreakerPolicy`]: the keys of `breaker:`, each with its default.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Breaker")]
#[expect(clippy::exhaustive_structs, reason = "written as a literal with `..Default::default()`")]
pub struct BreakerSpec {
    /// Failures in a row that trip it; default 5.
    pub consecutive_failures: NonZeroU32,
    /// Share of the calls of the last `window` that must have failed to trip it, above 0 and up to 1; default 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub failure_rate: f64,
    /// How far back `failure_rate` looks, 100 ms to 1 h; default 10 s.
    pub window: Span,
    /// Calls in the window below which `failure_rate` says nothing; default 10.
    pub minimum_calls: NonZeroU32,
    /// How long it stays tripped the first time, 10 ms to 1 h; doubles up to ten times that while probes fail; default 30 s.
    pub open: Span,
    /// Probes in a row that must succeed for calls to pass again; default 2.
    pub half_open_successes: NonZeroU32,
}

impl Default for BreakerSpec {
    fn default() -> Self {
        Self {
            consecutive_failures: count(5),
            failure_rate: 0.5,
            window: Span(Duration::from_secs(10)),
            minimum_calls: count(10),
            open: Span(Duration::from_secs(30)),
            half_open_successes: count(2),
        }
    }
}

const fn count(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

/// A breaker that cannot be meant.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidBreaker {
    /// Would trip on success, or never.
    #[error("failure_rate is {0}: allowed is above 0 and up to 1")]
    FailureRate(f64),
    /// Too short to hold calls, or so long that a repaired node is judged by its past.
    #[error("window is {0}: allowed is 100ms to 1h")]
    Window(Span),
    /// Too short to spare the node, or nearly always a unit typo.
    #[error("open is {0}: allowed is 10ms to 1h")]
    Open(Span),
}

impl TryFrom<BreakerSpec> for BreakerPolicy {
    type Error = InvalidBreaker;

    fn try_from(spec: BreakerSpec) -> Result<Self, InvalidBreaker> {
        if !(spec.failure_rate > 0.0 && spec.failure_rate <= 1.0) {
            return Err(InvalidBreaker::FailureRate(spec.failure_rate));
        }
        if !(WINDOW_MIN..=HOUR).contains(&spec.window.0) {
            return Err(InvalidBreaker::Window(spec.window));
        }
        if !(OPEN_MIN..=HOUR).contains(&spec.open.0) {
            return Err(InvalidBreaker::Open(spec.open));
        }
        Ok(Self(spec))
    }
}

impl From<BreakerPolicy> for BreakerSpec {
    fn from(policy: BreakerPolicy) -> Self {
        policy.0
    }
}

impl BreakerPolicy {
    /// Failures in a row that trip it.
    pub fn consecutive_failures(&self) -> NonZeroU32 {
        self.0.consecutive_failures
    }

    /// Share of the calls in the window, above 0 and up to 1, that trips it.
    pub fn failure_rate(&self) -> f64 {
        self.0.failure_rate
    }

    /// How far back the failure rate looks.
    pub fn window(&self) -> Duration {
        self.0.window.0
    }

    /// Calls in the window below which the rate says nothing.
    pub fn minimum_calls(&self) -> NonZeroU32 {
        self.0.minimum_calls
    }

    /// How long it stays tripped the first time.
    pub fn open(&self) -> Duration {
        self.0.open.0
    }

    /// The longest that it stays tripped, however many probes failed.
    pub fn open_max(&self) -> Duration {
        self.open() * OPEN_GROWTH_MAX
    }

    /// Probes in a row that must succeed.
    pub fn half_open_successes(&self) -> NonZeroU32 {
        self.0.half_open_successes
    }
}

/// A tenth of it is the finest step that the window takes.
const WINDOW_MIN: Duration = Duration::from_millis(100);
/// Shorter than a round trip in a data centre, it would not spare the node anything.
const OPEN_MIN: Duration = Duration::from_millis(10);
/// Longer is nearly always a unit typo.
const HOUR: Duration = Duration::from_secs(3600);
/// How many times `open` the open time grows to while probes fail.
const OPEN_GROWTH_MAX: u32 = 10;
