//! What the operator asks of retries.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::units::Span;

/// How often, how soon and how many calls are tried again. A value of this type is valid.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "RetrySpec", into = "RetrySpec")]
#[schemars(with = "RetrySpec")]
pub struct RetryPolicy(RetrySpec);

/// The written form of a [`RetryPolicy`]: the keys of `retry:`, each with its default.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Retry")]
#[expect(clippy::exhaustive_structs, reason = "written as a literal with `..Default::default()`")]
pub struct RetrySpec {
    /// How often a call is sent at most, the first time included, 1 to 10; default 3. 1 turns retries and hedges off.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: NonZeroU32,
    /// The shortest wait between two attempts, 1 ms up to `cap`; default 50 ms.
    pub base: Span,
    /// The longest wait between two attempts, up to 1 m; default 2 s.
    pub cap: Span,
    /// Retries that each call pays for, 0 to 1; default 0.2, one for five calls. On top of it comes one a second.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub budget: f64,
    /// Whether a tool's `readOnlyHint` and `idempotentHint` are believed; default no.
    pub trust_annotations: bool,
    /// After how long a call that only reads is sent a second time, while the first is still out; at least 1 ms, default never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hedge_after: Option<Span>,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self {
            attempts: NonZeroU32::MIN.saturating_add(2),
            base: Span(Duration::from_millis(50)),
            cap: Span(Duration::from_secs(2)),
            budget: 0.2,
            trust_annotations: false,
            hedge_after: None,
        }
    }
}

/// Retries that cannot be meant.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidRetry {
    /// More would be a load test.
    #[error("attempts is {0}: allowed is 1 to {ATTEMPTS_MAX}")]
    Attempts(NonZeroU32),
    /// Would not wait at all, or longer than the longest wait.
    #[error("base is {base}: allowed is 1ms to cap, which is {cap}")]
    Base {
        /// What was asked for.
        base: Span,
        /// The longest wait.
        cap: Span,
    },
    /// More than a share.
    #[error("budget is {0}: allowed is 0 to 1")]
    Budget(f64),
    /// Longer than callers wait.
    #[error("cap is {0}: allowed is up to 1m")]
    Cap(Span),
    /// Would double every call.
    #[error("hedge_after is 0s: allowed is at least 1ms; leave it out to send nothing twice")]
    HedgeAfterZero,
}

impl TryFrom<RetrySpec> for RetryPolicy {
    type Error = InvalidRetry;

    fn try_from(spec: RetrySpec) -> Result<Self, InvalidRetry> {
        if ATTEMPTS_MAX < spec.attempts.get() {
            return Err(InvalidRetry::Attempts(spec.attempts));
        }
        if CAP_MAX < spec.cap.0 {
            return Err(InvalidRetry::Cap(spec.cap));
        }
        if spec.base.0.is_zero() || spec.cap < spec.base {
            return Err(InvalidRetry::Base { base: spec.base, cap: spec.cap });
        }
        if !(0.0..=1.0).contains(&spec.budget) {
            return Err(InvalidRetry::Budget(spec.budget));
        }
        if spec.hedge_after.is_some_and(|span| span.0.is_zero()) {
            return Err(InvalidRetry::HedgeAfterZero);
        }
        Ok(Self(spec))
    }
}

impl From<RetryPolicy> for RetrySpec {
    fn from(policy: RetryPolicy) -> Self {
        policy.0
    }
}

impl RetryPolicy {
    /// How often a call is sent at most, the first time included.
    pub fn attempts_max(&self) -> u32 {
        self.0.attempts.get()
    }

    /// The shortest wait between two attempts.
    pub fn base(&self) -> Duration {
        self.0.base.0
    }

    /// The longest wait between two attempts.
    pub fn cap(&self) -> Duration {
        self.0.cap.0
    }

    /// Retries that each call pays for, 0 to 1.
    pub fn budget(&self) -> f64 {
        self.0.budget
    }

    /// Whether a tool's own hints are believed.
    pub fn trusts_annotations(&self) -> bool {
        self.0.trust_annotations
    }

    /// After how long a call that only reads is sent a second time.
    pub fn hedge_after(&self) -> Option<Duration> {
        self.0.hedge_after.map(|span| span.0)
    }
}

/// With waits that grow threefold, a tenth attempt already comes minutes after the first.
const ATTEMPTS_MAX: u32 = 10;
/// Beyond it the caller has given up.
const CAP_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(value: Value) -> Result<RetryPolicy, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_policy_is_written_as_it_was_read_and_tells_each_value() {
        let written = json!({"attempts": 10, "base": "1s", "cap": "1m", "budget": 0.5, "trust_annotations": true, "hedge_after": "2s"});
        let policy = policy(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(policy).unwrap(), written);
        assert_eq!((policy.attempts_max(), policy.budget(), policy.trusts_annotations()), (10, 0.5, true));
        assert_eq!([policy.base(), policy.cap()].map(|span| span.as_secs()), [1, 60]);
        assert_eq!(policy.hedge_after(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn what_is_at_the_bound_may_be_meant_and_what_is_beyond_is_refused() {
        for (at, beyond, told) in [
            (json!({"attempts": 10}), json!({"attempts": 11}), "attempts is 11"),
            (json!({"cap": "60s"}), json!({"cap": "60001ms"}), "cap is 60001ms"),
            (json!({"base": "2s"}), json!({"base": "2001ms"}), "base is 2001ms"),
            (json!({"base": "1ms"}), json!({"base": "0s"}), "base is 0s"),
            (json!({"budget": 1.0}), json!({"budget": 1.01}), "budget is 1.01"),
            (json!({"budget": 0.0}), json!({"budget": -0.01}), "budget is -0.01"),
            (json!({"hedge_after": "1ms"}), json!({"hedge_after": "0s"}), "hedge_after is 0s"),
        ] {
            assert!(policy(at.clone()).is_ok(), "{at}");
            let error = policy(beyond).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
