//! How long a node may take, and when it counts as healthy.

use std::num::NonZeroU32;
use std::time::Duration;

use mcp_guard::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How long the steps of a call to the node may take.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "TimeoutsSpec", into = "TimeoutsSpec")]
#[schemars(with = "TimeoutsSpec")]
pub struct Timeouts(TimeoutsSpec);

/// How long the steps of a call to the node may take.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Timeouts")]
struct TimeoutsSpec {
    /// Until a new connection stands.
    connect: Span,
    /// From the end of the request to the first byte of the answer; where that is no stream, to its end.
    first_byte: Span,
    /// How long an unused connection is kept.
    idle: Span,
    /// From when a request is sent to the end of its answer, where that is a stream, at least `first_byte`; default: as long
    /// as it likes. Streams that only listen (GET, `subscriptions/listen`) are not meant, nor tools with a `timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<Span>,
}

/// When the node is sent calls at all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "HealthSpec", into = "HealthSpec")]
#[schemars(with = "HealthSpec")]
pub struct Health(HealthSpec);

/// When the node is sent calls at all.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Health")]
struct HealthSpec {
    /// From one check to the next.
    interval: Span,
    /// How long a check may take, at most `interval`: the answer to a ping over HTTP, whatever it is but 502, 503 or 504; or the
    /// ping in a session that was opened for that, or to a child that has answered `initialize` within
    /// `process.start_timeout`.
    timeout: Span,
    /// How many checks in a row must fail until the node counts as unhealthy.
    unhealthy_after: NonZeroU32,
    /// How many checks in a row must pass until it counts as healthy again.
    healthy_after: NonZeroU32,
}

/// Times that cannot be meant.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidTiming {
    /// Everything would time out.
    #[error("{0} is 0: must be longer")]
    Zero(&'static str),
    /// No answer could begin so late.
    #[error("total is {total}, shorter than first_byte: at least {first_byte} is allowed")]
    TotalBelowFirstByte {
        /// How long an answer may take in all.
        total: Span,
        /// How long it may take to begin.
        first_byte: Span,
    },
    /// Checks would overlap.
    #[error("timeout is {timeout}, longer than interval: at most {interval} is allowed")]
    TimeoutAboveInterval {
        /// How long a check may take.
        timeout: Span,
        /// From one check to the next.
        interval: Span,
    },
}

impl Default for TimeoutsSpec {
    fn default() -> Self {
        Self {
            connect: Span(Duration::from_secs(1)),
            first_byte: Span(Duration::from_secs(30)),
            idle: Span(Duration::from_secs(300)),
            total: None,
        }
    }
}

impl TryFrom<TimeoutsSpec> for Timeouts {
    type Error = InvalidTiming;

    fn try_from(spec: TimeoutsSpec) -> Result<Self, InvalidTiming> {
        refuse_zero([("connect", spec.connect), ("first_byte", spec.first_byte), ("idle", spec.idle)])?;
        if let Some(total) = spec.total.filter(|total| total.0 < spec.first_byte.0) {
            return Err(InvalidTiming::TotalBelowFirstByte { total, first_byte: spec.first_byte });
        }
        Ok(Self(spec))
    }
}

impl From<Timeouts> for TimeoutsSpec {
    fn from(timeouts: Timeouts) -> Self {
        timeouts.0
    }
}

impl Timeouts {
    /// Until a new connection stands.
    pub fn connect(&self) -> Duration {
        self.0.connect.0
    }

    /// From the end of the request to the first byte of the answer; where that is no stream, to its end.
    pub fn first_byte(&self) -> Duration {
        self.0.first_byte.0
    }

    /// From when a request is sent to the end of its answer.
    pub fn total(&self) -> Option<Duration> {
        self.0.total.map(|total| total.0)
    }

    /// How long an unused connection is kept.
    pub fn idle(&self) -> Duration {
        self.0.idle.0
    }
}

impl Default for HealthSpec {
    fn default() -> Self {
        Self {
            interval: Span(Duration::from_secs(5)),
            timeout: Span(Duration::from_secs(1)),
            unhealthy_after: NonZeroU32::MIN.saturating_add(2),
            healthy_after: NonZeroU32::MIN.saturating_add(1),
        }
    }
}

impl TryFrom<HealthSpec> for Health {
    type Error = InvalidTiming;

    fn try_from(spec: HealthSpec) -> Result<Self, InvalidTiming> {
        let HealthSpec { interval, timeout, .. } = spec;
        refuse_zero([("interval", interval), ("timeout", timeout)])?;
        if timeout > interval {
            return Err(InvalidTiming::TimeoutAboveInterval { timeout, interval });
        }
        Ok(Self(spec))
    }
}

impl From<Health> for HealthSpec {
    fn from(health: Health) -> Self {
        health.0
    }
}

impl Health {
    /// From one check to the next.
    pub fn interval(&self) -> Duration {
        self.0.interval.0
    }

    /// How long a check may take.
    pub fn timeout(&self) -> Duration {
        self.0.timeout.0
    }

    /// Failed checks in a row until the node counts as unhealthy.
    pub fn unhealthy_after(&self) -> u32 {
        self.0.unhealthy_after.get()
    }

    /// Passed checks in a row until it counts as healthy again.
    pub fn healthy_after(&self) -> u32 {
        self.0.healthy_after.get()
    }
}

fn refuse_zero<const N: usize>(times: [(&'static str, Span); N]) -> Result<(), InvalidTiming> {
    match times.iter().find(|(_, time)| time.0.is_zero()) {
        Some((name, _)) => Err(InvalidTiming::Zero(name)),
        None => Ok(()),
    }
}
