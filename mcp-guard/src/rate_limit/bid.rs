//! What one call asks of one rule, and how several rules agree.

use std::num::NonZeroU32;
use std::time::Duration;

use super::allowance::{Allowances, Short};
use super::decision::{Decision, Denial, Standing};
use super::key::Key;
use super::table::{Purpose, Question};

/// What is wanted from a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Claim {
    /// So many calls, or a refusal.
    Spend(NonZeroU32),
    /// Only to know what is left.
    Look,
}

/// One rule that is asked about a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bid<'a> {
    /// The index of the rule.
    pub(super) rule: usize,
    pub(super) allowances: &'a Allowances,
    pub(super) key: Key,
    /// Nanoseconds since the limiter began.
    pub(super) now: u64,
    pub(super) claim: Claim,
}

/// Spends from all rules or from none.
pub(super) fn settle(bids: &[Option<Bid<'_>>]) -> Decision {
    let spending = || bids.iter().flatten().filter_map(|bid| Some((bid, bid.cost()?)));
    // One rule decides and spends in one step; of several, none may spend before all have agreed.
    if spending().count() > 1 {
        let denials = spending().filter_map(|(bid, cost)| bid.spend(Purpose::Look, cost).err());
        if let Some(denial) = denials.max_by_key(Denial::retry_after) {
            return Decision::Deny(denial);
        }
    }
    let mut tightest = None;
    for (spent, (bid, cost)) in spending().enumerate() {
        match bid.spend(Purpose::Spend, cost) {
            Ok(standing) => tightest = tighter(tightest, standing),
            Err(denial) => {
                // Another thread was faster since all agreed. Giving back is never refused.
                for (earlier, cost) in spending().take(spent) {
                    let _ = earlier.spend(Purpose::GiveBack, cost);
                }
                return Decision::Deny(denial);
            }
        }
    }
    let looking = bids.iter().flatten().filter(|bid| bid.claim == Claim::Look).map(Bid::look);
    Decision::Allow(looking.fold(tightest, tighter))
}

#[expect(clippy::unnecessary_wraps, reason = "the step of a fold")]
fn tighter(one: Option<Standing>, other: Standing) -> Option<Standing> {
    Some(one.map_or(other, |one| one.tighter(other)))
}

impl Bid<'_> {
    fn cost(&self) -> Option<NonZeroU32> {
        match self.claim {
            Claim::Spend(cost) => Some(cost),
            Claim::Look => None,
        }
    }

    fn spend(&self, purpose: Purpose, cost: NonZeroU32) -> Result<Standing, Denial> {
        match self.ask(purpose, cost) {
            Ok(remaining) => Ok(self.standing(remaining)),
            Err(Short { wait, remaining }) => {
                let standing = Standing { rule: self.rule, remaining, more_in: wait };
                Err(Denial { standing, retry_after: wait })
            }
        }
    }

    fn look(&self) -> Standing {
        match self.ask(Purpose::Look, NonZeroU32::MIN) {
            Ok(after_one) => self.standing(after_one + 1),
            Err(Short { wait, remaining }) => Standing { rule: self.rule, remaining, more_in: wait },
        }
    }

    fn standing(&self, remaining: u32) -> Standing {
        let interval = self.allowances.interval();
        // Headers have whole seconds, rounded up: only slow rates are worth a second question.
        let more_in = if interval <= Duration::from_secs(1) { interval } else { self.time_to(remaining + 1) };
        Standing { rule: self.rule, remaining, more_in }
    }

    /// How long until `calls` are there; zero at and above the burst, when all are.
    fn time_to(&self, calls: u32) -> Duration {
        let calls = NonZeroU32::new(calls).unwrap_or(NonZeroU32::MIN);
        self.ask(Purpose::Look, calls).map_or_else(|short| short.wait, |_| Duration::ZERO)
    }

    fn ask(&self, purpose: Purpose, cost: NonZeroU32) -> Result<u32, Short> {
        self.allowances.ask(&Question { key: self.key, now: self.now, purpose }, cost)
    }
}
