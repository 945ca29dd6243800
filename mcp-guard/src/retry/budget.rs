//! How many retries the calls of late have paid for.

use std::time::{Duration, Instant};

/// A bounded balance of retries.
///
/// Each call deposits a share of a retry, each retry or hedge withdraws a whole one. So that a quiet node's calls can be retried at all,
/// one retry a second is given, up to [`RESERVE_MAX`]; deposits count up to [`BALANCE_MAX`]. When all fail at once, the load is thus at
/// most `1 + budget` of the ordinary one, and never a storm. After Finagle's `RetryBudget` (Twitter), without its expiry: the bound
/// does that work.
#[derive(Debug)]
pub struct Budget {
    deposit_micros: u64,
    balance_micros: u64,
    reserved_until: Instant,
}

/// One retry, in the unit that balances are kept in: whole numbers do not drift.
const RETRY_MICROS: u64 = 1_000_000;
/// A reserve of ten retries, which a quiet node earns in ten seconds; also what there is at the start.
pub const RESERVE_MAX: u64 = 10;
/// The most retries that can be saved up: what a burst of failures can cost at once.
pub const BALANCE_MAX: u64 = 100;

impl Budget {
    /// A budget with a full reserve, into which each call pays `share` of a retry, 0 to 1.
    pub fn new(share: f64, now: Instant) -> Self {
        Self {
            deposit_micros: Duration::try_from_secs_f64(share)
                .map_or(0, |share| u64::try_from(share.as_micros()).unwrap_or(0)),
            balance_micros: RESERVE_MAX * RETRY_MICROS,
            reserved_until: now,
        }
    }

    /// A call pays in.
    pub fn deposit(&mut self, now: Instant) {
        self.top_up(now);
        self.balance_micros = (self.balance_micros + self.deposit_micros).min(BALANCE_MAX * RETRY_MICROS);
    }

    /// Pays for one retry, or says that there is nothing to pay it with.
    #[must_use]
    pub fn withdraw(&mut self, now: Instant) -> bool {
        self.top_up(now);
        match self.balance_micros.checked_sub(RETRY_MICROS) {
            Some(rest) => {
                self.balance_micros = rest;
                true
            }
            None => false,
        }
    }

    /// Adds one retry a second while the balance is below the reserve.
    fn top_up(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.reserved_until);
        // A second earns a retry, so a microsecond earns a millionth of one. What is left of one counts the next time.
        let earned_micros = u64::try_from(passed.as_micros()).unwrap_or(u64::MAX);
        self.reserved_until += Duration::from_micros(earned_micros);
        let missing = (RESERVE_MAX * RETRY_MICROS).saturating_sub(self.balance_micros);
        self.balance_micros += missing.min(earned_micros);
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant will do as the start")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(budget: &mut Budget, now: Instant) -> u64 {
        (0..).take_while(|_| budget.withdraw(now)).count() as u64
    }

    #[test]
    fn five_calls_pay_for_one_retry() {
        let now = Instant::now();
        let mut budget = Budget::new(0.2, now);
        assert_eq!(drain(&mut budget, now), RESERVE_MAX);
        for _ in 0..4 {
            budget.deposit(now);
        }
        assert!(!budget.withdraw(now));
        budget.deposit(now);
        assert!(budget.withdraw(now));
        assert!(!budget.withdraw(now));
    }

    #[test]
    fn a_quiet_node_earns_one_retry_a_second_up_to_the_reserve() {
        let start = Instant::now();
        let mut budget = Budget::new(0.0, start);
        drain(&mut budget, start);
        assert_eq!(drain(&mut budget, start + Duration::from_millis(2_999)), 2);
        assert_eq!(drain(&mut budget, start + Duration::from_secs(1_000)), RESERVE_MAX);
    }

    #[test]
    fn what_can_be_saved_up_is_bounded() {
        let now = Instant::now();
        let mut budget = Budget::new(1.0, now);
        for _ in 0..100_000 {
            budget.deposit(now);
        }
        assert_eq!(drain(&mut budget, now), BALANCE_MAX);
    }

    proptest! {
        /// However calls, retries and pauses are mixed, there are never more retries than were paid for.
        #[test]
        fn retries_never_exceed_what_was_paid(ops in prop::collection::vec((0_u64..3, 0_u64..3_000), 1..400)) {
            let start = Instant::now();
            let (mut budget, mut now) = (Budget::new(0.2, start), start);
            let (mut calls, mut retries) = (0_u64, 0_u64);
            for (op, wait_ms) in ops {
                match op {
                    0 => { budget.deposit(now); calls += 1; }
                    1 => retries += u64::from(budget.withdraw(now)),
                    _ => now += Duration::from_millis(wait_ms),
                }
                let paid = RESERVE_MAX as f64 + 0.2 * calls as f64 + (now - start).as_secs_f64();
                prop_assert!(retries as f64 <= paid + 0.000_1);
            }
        }
    }
}
