//! Whether another attempt follows, and when.

use std::time::{Duration, Instant};

use super::backoff::delay;
use super::policy::RetryPolicy;
use super::repeatable::Repeat;
use crate::outcome::Outcome;

/// The attempts of one call so far.
#[derive(Debug)]
pub struct Attempts {
    sent: u32,
    wait: Duration,
}

/// What follows an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "each must be acted on")]
pub enum Next {
    /// Another one after `wait`, if the budget pays for it.
    Retry {
        /// How long from now.
        wait: Duration,
    },
    /// None: the answer stands, good or bad.
    Done,
    /// None: it failed, and as many as are allowed were made.
    Exhausted,
    /// None: it failed, and it would come too late, or the node asks for a wait that is the caller's to make.
    TooLate,
}

/// What is known when an attempt has ended.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by callers")]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Whether the call may be sent again.
    pub repeat: Repeat,
    /// The node's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// When the answer is no longer of use.
    pub deadline: Option<Instant>,
}

impl Attempts {
    /// The first one is out.
    pub fn first(policy: &RetryPolicy) -> Self {
        Self { sent: 1, wait: policy.base() }
    }

    /// Another one is out.
    pub fn sent(&mut self) {
        self.sent += 1;
    }

    /// Whether another may be sent.
    pub fn remain(&self, policy: &RetryPolicy) -> bool {
        self.sent < policy.attempts_max()
    }

    /// What follows the attempt that `ended` now; `random` is 64 random bits for this call.
    pub fn next(&mut self, ended: Ended, policy: &RetryPolicy, now: Instant, random: u64) -> Next {
        if !is_worth_repeating(ended.outcome, ended.repeat) {
            return Next::Done;
        }
        if !self.remain(policy) {
            return Next::Exhausted;
        }
        let asked = ended.retry_after.unwrap_or_default();
        self.wait = delay(self.wait, policy.base(), policy.cap(), random);
        let wait = self.wait.max(asked);
        let too_late = ended.deadline.is_some_and(|deadline| deadline.saturating_duration_since(now) <= wait);
        if RETRY_AFTER_MAX < asked || too_late { Next::TooLate } else { Next::Retry { wait } }
    }
}

/// Whether a call that ended so may do better the next time, and may be sent again.
pub(super) fn is_worth_repeating(outcome: Outcome, repeat: Repeat) -> bool {
    match outcome {
        Outcome::Unreachable => repeat != Repeat::Never,
        // 503 and 429 mostly come from before the call ran, but no one promises it.
        Outcome::Broken | Outcome::Replaced | Outcome::HttpError(429 | 502 | 503 | 504) => repeat.is_safe(),
        // A JSON-RPC error is the server's answer, also -32603: erlmcp v3 sends it after the tool has run. A 500 comes from a program
        // that would fail again. After a time-out the caller's time is gone. A refusal was the guard's own.
        Outcome::Ok
        | Outcome::ToolError
        | Outcome::RpcError(_)
        | Outcome::ServerError(_)
        | Outcome::HttpError(_)
        | Outcome::HttpRefused(_)
        | Outcome::TimedOut
        | Outcome::TooLarge
        | Outcome::Cancelled
        | Outcome::Refused => false,
    }
}

/// The longest `Retry-After` that the guard waits out itself. Meanwhile the call holds its place in the queue, so a longer one is handed
/// to the caller with the answer.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant will do as the start")]
mod tests {
    use super::*;

    const EVERY_REPEAT: [Repeat; 4] = [Repeat::Always, Repeat::InTurn, Repeat::IfUnsent, Repeat::Never];

    fn ended(outcome: Outcome) -> Ended {
        Ended { outcome, repeat: Repeat::Always, retry_after: None, deadline: None }
    }

    fn next(ended: Ended, now: Instant) -> Next {
        let policy = RetryPolicy::default();
        Attempts::first(&policy).next(ended, &policy, now, 0)
    }

    #[test]
    fn what_is_worth_repeating_as_a_table() {
        for (outcome, expected) in [
            (Outcome::Unreachable, [true, true, true, false]),
            (Outcome::Broken, [true, true, false, false]),
            (Outcome::Replaced, [true, true, false, false]),
            (Outcome::HttpError(429), [true, true, false, false]),
            (Outcome::HttpError(502), [true, true, false, false]),
            (Outcome::HttpError(503), [true, true, false, false]),
            (Outcome::HttpError(504), [true, true, false, false]),
            (Outcome::HttpError(500), [false; 4]),
            (Outcome::HttpRefused(404), [false; 4]),
            (Outcome::ServerError(-32603), [false; 4]),
            (Outcome::RpcError(-32602), [false; 4]),
            (Outcome::TimedOut, [false; 4]),
            (Outcome::Refused, [false; 4]),
            (Outcome::Cancelled, [false; 4]),
            (Outcome::ToolError, [false; 4]),
            (Outcome::Ok, [false; 4]),
        ] {
            assert_eq!(EVERY_REPEAT.map(|repeat| is_worth_repeating(outcome, repeat)), expected, "{outcome:?}");
        }
    }

    #[test]
    fn attempts_end_at_their_number() {
        let (policy, now) = (RetryPolicy::default(), Instant::now());
        let mut attempts = Attempts::first(&policy);
        for _ in 0..2 {
            assert!(matches!(attempts.next(ended(Outcome::Broken), &policy, now, 7), Next::Retry { .. }));
            attempts.sent();
        }
        assert_eq!(attempts.next(ended(Outcome::Broken), &policy, now, 7), Next::Exhausted);
    }

    #[test]
    fn the_nodes_wait_is_a_minimum_up_to_a_bound() {
        let now = Instant::now();
        let asked =
            |seconds| Ended { retry_after: Some(Duration::from_secs(seconds)), ..ended(Outcome::HttpError(503)) };
        assert_eq!(next(asked(0), now), Next::Retry { wait: Duration::from_millis(50) });
        assert_eq!(next(asked(10), now), Next::Retry { wait: Duration::from_secs(10) });
        assert_eq!(next(asked(11), now), Next::TooLate);
    }

    #[test]
    fn no_attempt_starts_at_the_deadline_or_after_it() {
        let now = Instant::now();
        let by = |ms| Ended { deadline: Some(now + Duration::from_millis(ms)), ..ended(Outcome::Broken) };
        assert_eq!(next(by(51), now), Next::Retry { wait: Duration::from_millis(50) });
        assert_eq!(next(by(50), now), Next::TooLate);
    }
}
