//! GCRA, as governor has it, over our table and under a clock that is given.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::{Quota, RateLimiter};

use super::policy::RateLimitPolicy;
use super::table::{Question, Table};

/// The allowances of all callers of one rule.
///
/// The decision is the *generic cell rate algorithm* (ATM Forum Traffic Management 4.1, section 4.4.2; ITU-T I.371),
/// done by governor in whole nanoseconds.
#[derive(Debug)]
pub(super) struct Allowances {
    limiter: RateLimiter<Question, Table, Still, StateInformationMiddleware>,
    burst: NonZeroU32,
    interval: Duration,
}

/// Not enough is left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Short {
    /// Until the same call fits, if nobody spends in between.
    pub(super) wait: Duration,
    /// What is left.
    pub(super) remaining: u32,
}

impl Allowances {
    /// Whole allowances for everybody under `policy`.
    pub(super) fn new(policy: &RateLimitPolicy, evictions: Arc<AtomicU64>) -> Self {
        let (burst, interval) = (policy.burst(), policy.interval());
        let quota = Quota::with_period(interval).map_or(Quota::per_second(burst), |quota| quota.allow_burst(burst));
        let table = Table::new(usize::try_from(policy.keys_max().get()).unwrap_or(usize::MAX), evictions);
        Self { limiter: RateLimiter::new(quota, table, Still), burst, interval }
    }

    /// How many calls are left after one that costs `cost`, or how long until that fits.
    ///
    /// Above the burst nothing would ever fit, so such a call costs the whole burst.
    pub(super) fn ask(&self, question: &Question, cost: NonZeroU32) -> Result<u32, Short> {
        let cost = cost.min(self.burst);
        match self.limiter.check_key_n(question, cost) {
            Ok(Ok(left)) => Ok(left.remaining_burst_capacity()),
            Ok(Err(not_until)) => Err(self.short(cost, not_until.wait_time_from(Nanos::default()))),
            // Governor's word for a cost above the burst, which cannot be here.
            Err(_) => Err(self.short(cost, self.interval.saturating_mul(self.burst.get()))),
        }
    }

    /// The time in which one call is earned.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// What is left follows from the wait: it earns what is missing.
    fn short(&self, cost: NonZeroU32, wait: Duration) -> Short {
        let missing = wait.as_nanos().div_ceil(self.interval.as_nanos().max(1));
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        Short { wait, remaining: cost.get().saturating_sub(missing) }
    }
}

/// Governor's clock, which stands still: the time of a decision comes with its [`Question`], and the table shows
/// governor every allowance as seen from there. So there is no hidden clock, and nothing that threads would share.
#[derive(Clone, Copy, Debug)]
struct Still;

impl Clock for Still {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::default()
    }
}
