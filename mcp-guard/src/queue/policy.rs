//! What the operator asked for.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::Span;

/// The highest `concurrency`: more than a process may have sockets on most machines, so a larger number is a typo.
pub const CONCURRENCY_MAX: u32 = 100_000;

/// The highest `waiting`: each waiter holds its request, of up to `limits.body` bytes.
pub const WAITING_MAX: u32 = 100_000;

/// The longest `max_wait`: ten minutes; clients have given up long before.
pub const WAIT_MAX: Duration = Duration::from_secs(600);

/// The lowest limit that adapting goes to by default, and where it starts.
const CONCURRENCY_MIN: NonZeroU32 = NonZeroU32::new(8).unwrap();

/// What a usual wait shrinks to by default when the queue stands: 5 % of the default `max_wait` (RFC 8289, section 4.3).
const TARGET_DELAY: Duration = Duration::from_millis(100);

/// How many calls may run on a node at once, and how long how many others may wait for a place.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "QueueSpec", into = "QueueSpec")]
#[schemars(with = "QueueSpec")]
pub struct QueuePolicy(QueueSpec);

#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Queue")]
struct QueueSpec {
    /// Most calls that run on a node at once, 1 to 100000.
    concurrency: NonZeroU32,
    /// The bound that an adaptive limit never goes below, at most `concurrency`; default: 8, or `concurrency` if that is less.
    concurrency_min: Option<NonZeroU32>,
    /// Whether the limit moves between the two bounds with what the node bears; otherwise it is `concurrency`.
    adaptive: bool,
    /// Most calls that wait for a place, 0 to 100000; 0 refuses at once what finds no place.
    waiting: u32,
    /// Longest wait for a place, up to 10m.
    max_wait: Span,
    /// Once the queue has not been empty for `max_wait`, as many may wait as are served within this, or up to 16 as are served within half of `max_wait`, until it was empty for as long or nobody found it full for `max_wait`; at most `max_wait`; default: 100ms, or `max_wait` if that is less.
    target_delay: Option<Span>,
}

impl Default for QueueSpec {
    fn default() -> Self {
        Self {
            concurrency: const { NonZeroU32::new(256).unwrap() },
            concurrency_min: None,
            adaptive: true,
            waiting: 1024,
            max_wait: Span(Duration::from_secs(2)),
            target_delay: None,
        }
    }
}

/// A queue that cannot be meant.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidQueue {
    /// More calls at once than a process can hold.
    #[error("concurrency is {0}: allowed is 1 to {CONCURRENCY_MAX}")]
    Concurrency(NonZeroU32),
    /// The lower bound is above the upper one.
    #[error("concurrency_min is {0}: allowed is 1 to concurrency, which is {1}")]
    ConcurrencyMin(NonZeroU32, NonZeroU32),
    /// More waiters than a process can hold.
    #[error("waiting is {0}: allowed is 0 to {WAITING_MAX}")]
    Waiting(u32),
    /// No time, or more than anyone waits.
    #[error("max_wait is {0}: allowed is 1ms to 10m; to refuse at once set waiting: 0")]
    MaxWait(Span),
    /// No time, or more than without a standing queue.
    #[error("target_delay is {0}: allowed is 1ms to max_wait, which is {1}")]
    TargetDelay(Span, Span),
}

impl TryFrom<QueueSpec> for QueuePolicy {
    type Error = InvalidQueue;

    fn try_from(spec: QueueSpec) -> Result<Self, InvalidQueue> {
        if spec.concurrency.get() > CONCURRENCY_MAX {
            return Err(InvalidQueue::Concurrency(spec.concurrency));
        }
        if let Some(min) = spec.concurrency_min.filter(|min| *min > spec.concurrency) {
            return Err(InvalidQueue::ConcurrencyMin(min, spec.concurrency));
        }
        if spec.waiting > WAITING_MAX {
            return Err(InvalidQueue::Waiting(spec.waiting));
        }
        if spec.max_wait.0.is_zero() || spec.max_wait.0 > WAIT_MAX {
            return Err(InvalidQueue::MaxWait(spec.max_wait));
        }
        if let Some(target) = spec.target_delay.filter(|target| target.0.is_zero() || *target > spec.max_wait) {
            return Err(InvalidQueue::TargetDelay(target, spec.max_wait));
        }
        Ok(Self(spec))
    }
}

impl From<QueuePolicy> for QueueSpec {
    fn from(policy: QueuePolicy) -> Self {
        policy.0
    }
}

impl QueuePolicy {
    /// A limit of `concurrency` calls that does not move; the rest as by default.
    ///
    /// # Errors
    ///
    /// [`InvalidQueue::Concurrency`] above [`CONCURRENCY_MAX`].
    pub fn fixed(concurrency: NonZeroU32) -> Result<Self, InvalidQueue> {
        QueueSpec { concurrency, adaptive: false, ..QueueSpec::default() }.try_into()
    }

    /// A limit that moves from `least` to `most` with what the node bears; the rest as by default.
    ///
    /// # Errors
    ///
    /// [`InvalidQueue::Concurrency`] above [`CONCURRENCY_MAX`], [`InvalidQueue::ConcurrencyMin`] if `least` is above `most`.
    pub fn adaptive(least: NonZeroU32, most: NonZeroU32) -> Result<Self, InvalidQueue> {
        QueueSpec { concurrency: most, concurrency_min: Some(least), ..QueueSpec::default() }.try_into()
    }

    /// The same with room for `waiting` calls, each for up to `max_wait`; while the queue stands, for as many as are served within `target_delay`.
    ///
    /// # Errors
    ///
    /// [`InvalidQueue::Waiting`], [`InvalidQueue::MaxWait`] and [`InvalidQueue::TargetDelay`], each with what is allowed.
    pub fn with_room(self, waiting: u32, max_wait: Duration, target_delay: Duration) -> Result<Self, InvalidQueue> {
        QueueSpec { waiting, max_wait: Span(max_wait), target_delay: Some(Span(target_delay)), ..self.0 }.try_into()
    }

    /// Most calls that run on a node at once.
    pub fn concurrency(&self) -> u32 {
        self.0.concurrency.get()
    }

    /// The bound that an adaptive limit never goes below, and where it starts.
    pub fn concurrency_min(&self) -> u32 {
        self.0.concurrency_min.unwrap_or(CONCURRENCY_MIN.min(self.0.concurrency)).get()
    }

    /// Whether the limit moves.
    pub fn is_adaptive(&self) -> bool {
        self.0.adaptive
    }

    /// Most calls that wait for a place.
    pub fn waiting_max(&self) -> usize {
        usize::try_from(self.0.waiting).unwrap_or(usize::MAX)
    }

    /// Longest wait for a place.
    pub fn max_wait(&self) -> Duration {
        self.0.max_wait.0
    }

    /// In how much time those are served who may wait while the queue stands.
    pub fn target_delay(&self) -> Duration {
        self.0.target_delay.map_or(TARGET_DELAY.min(self.max_wait()), |target| target.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<QueuePolicy, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let policy = read("{}").unwrap();
        assert_eq!((policy.concurrency(), policy.concurrency_min(), policy.is_adaptive()), (256, 8, true));
        assert_eq!((policy.waiting_max(), policy.max_wait()), (1024, Duration::from_secs(2)));
        assert_eq!(policy.target_delay(), Duration::from_millis(100));
    }

    #[test]
    fn bounds_that_are_left_out_follow_those_that_are_given() {
        let policy = read(r#"{"concurrency": 4, "max_wait": "50ms"}"#).unwrap();
        assert_eq!((policy.concurrency_min(), policy.target_delay()), (4, Duration::from_millis(50)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_is_allowed() {
        for (json, message) in [
            (r#"{"concurrency": 200000}"#, "concurrency is 200000: allowed is 1 to 100000"),
            (
                r#"{"concurrency": 4, "concurrency_min": 5}"#,
                "concurrency_min is 5: allowed is 1 to concurrency, which is 4",
            ),
            (r#"{"waiting": 200000}"#, "waiting is 200000: allowed is 0 to 100000"),
            (r#"{"max_wait": "0s"}"#, "max_wait is 0s: allowed is 1ms to 10m; to refuse at once set waiting: 0"),
            (r#"{"target_delay": "3s"}"#, "target_delay is 3s: allowed is 1ms to max_wait, which is 2s"),
        ] {
            assert_eq!(read(json).unwrap_err(), message);
        }
        for (at, beyond) in [
            (r#"{"concurrency": 100000}"#, r#"{"concurrency": 100001}"#),
            (r#"{"concurrency": 4, "concurrency_min": 4}"#, r#"{"concurrency": 4, "concurrency_min": 9}"#),
            (r#"{"waiting": 100000}"#, r#"{"waiting": 100001}"#),
            (r#"{"max_wait": "10m"}"#, r#"{"max_wait": "600001ms"}"#),
            (r#"{"target_delay": "2s"}"#, r#"{"target_delay": "2001ms"}"#),
            (r#"{"target_delay": "1ms"}"#, r#"{"target_delay": "0s"}"#),
        ] {
            assert!(read(at).is_ok() && read(beyond).is_err(), "{at} {beyond}");
        }
        assert!(read(r#"{"size": 1}"#).unwrap_err().contains("unknown field"));
    }
}
