//! Asks all rules about a call.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::allowance::{Allowances, Short};
use super::decision::{Decision, Denial, Standing};
use super::key::{Caller, KeyHasher};
use super::policy::RateLimitPolicy;
use super::rules::{RULES_MAX, RateLimits};
use super::table::{Purpose, Question};
use crate::call::{Call, Kind};
use crate::refusal::{Reason, Refusal};

/// The allowances of all callers under all rules.
///
/// A call must fit under every rule that applies to it. If it does not, it spends from none, and the wait that it is told
/// is the longest of those rules. That holds for one decision at a time: where two threads race for the last of an
/// allowance, the loser gives back what it took from the other rules, and is told the wait of the rule it lost at.
///
/// Requests and notifications count, `ping` too. Opening a stream (HTTP GET) counts for the rules that look at the
/// client's address alone. Responses and the end of a session count for none.
///
/// A call that costs more than a rule's burst spends that whole burst: the rule still bounds it, and waiting still
/// helps. [`RateLimits::check_costs`] finds most of such configurations before.
///
/// A host that can should ask [`before_body`](Self::before_body) first and [`after_body`](Self::after_body) then. Before the
/// body is read nobody knows what is in it, so there each HTTP request counts as one, a batch too.
#[derive(Debug)]
pub struct RateLimiter {
    rules: Box<[Rule]>,
    hasher: KeyHasher,
    start: Instant,
    evictions: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Rule {
    policy: RateLimitPolicy,
    allowances: Allowances,
}

impl RateLimiter {
    /// Whole allowances for everybody; `start` is now, and no later call may be earlier than it.
    pub fn new(limits: &RateLimits, start: Instant) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let rule = |policy: &RateLimitPolicy| Rule {
            allowances: Allowances::new(policy, Arc::clone(&evictions)),
            policy: policy.clone(),
        };
        let rules = limits.as_slice().iter().map(rule).collect();
        Self { rules, hasher: KeyHasher::default(), start, evictions }
    }

    /// Asks the rules that look at the client's address alone, each for one call.
    pub fn before_body(&self, client: Option<IpAddr>, now: Instant) -> Decision {
        let caller = Caller { client, ..Caller::default() };
        self.decide_by(&caller, now, |policy| policy.is_of_client_only().then_some(NonZeroU32::MIN))
    }

    /// Asks the rules that [`before_body`](Self::before_body) could not.
    ///
    /// `cost` is how many calls this one counts as. Those that it counts beyond one are spent from the rules of
    /// `before_body` here.
    pub fn after_body(&self, call: &Call, cost: NonZeroU32, now: Instant) -> Decision {
        if !matches!(call.kind, Kind::Request | Kind::Notification) {
            return Decision::Allow(None);
        }
        self.decide_by(&call.into(), now, |policy| {
            if policy.is_of_client_only() {
                return NonZeroU32::new(cost.get() - 1);
            }
            policy.applies_to(call).then_some(cost)
        })
    }

    /// Asks every rule at once, for hosts that do not ask [`before_body`](Self::before_body).
    ///
    /// `cost` is how many calls this one counts as.
    pub fn decide(&self, call: &Call, cost: NonZeroU32, now: Instant) -> Decision {
        self.decide_by(&call.into(), now, |policy| match call.kind {
            Kind::Request | Kind::Notification => policy.applies_to(call).then_some(cost),
            Kind::Listen => policy.is_of_client_only().then_some(NonZeroU32::MIN),
            Kind::Response | Kind::End => None,
        })
    }

    /// The rule that `standing` is about; `None` if another limiter made it.
    pub fn policy(&self, standing: &Standing) -> Option<&RateLimitPolicy> {
        self.rules.get(standing.rule).map(|rule| &rule.policy)
    }

    /// What the caller is told about `denial`: [`Reason::RateLimited`] with the exact wait, and the rule in `data.rule`.
    pub fn refuse(&self, denial: &Denial) -> Refusal {
        let Some(policy) = self.policy(&denial.standing) else {
            return Refusal::new(Reason::RateLimited, "too many calls").retry_after(denial.retry_after);
        };
        let detail =
            format!("rule `{}` allows {} with at most {} at once", policy.name(), policy.rate(), policy.burst());
        Refusal::new(Reason::RateLimited, detail).retry_after(denial.retry_after).with("rule", policy.name())
    }

    /// How many allowances were forgotten because a table was full, since this was last asked.
    pub fn take_evictions(&self) -> u64 {
        // Nearly always zero, and reading a zero costs the other threads nothing.
        if self.evictions.load(Ordering::Relaxed) == 0 { 0 } else { self.evictions.swap(0, Ordering::Relaxed) }
    }

    /// Asks the rules for which `cost` is some.
    fn decide_by(
        &self,
        caller: &Caller<'_>,
        now: Instant,
        cost: impl Fn(&RateLimitPolicy) -> Option<NonZeroU32>,
    ) -> Decision {
        let now = u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX);
        let mut bids = [const { None }; RULES_MAX];
        let mut count = 0;
        for (index, rule) in self.rules.iter().enumerate() {
            if let (Some(cost), Some(bid)) = (cost(&rule.policy), bids.get_mut(count)) {
                let key = self.hasher.key(rule.policy.key(), caller);
                *bid = Some(Bid { index, rule, question: Question { key, now, purpose: Purpose::Spend }, cost });
                count += 1;
            }
        }
        settle(bids.get(..count).unwrap_or_default())
    }
}

/// One rule that applies to a call, and what is asked of it.
#[derive(Clone, Copy, Debug)]
struct Bid<'a> {
    index: usize,
    rule: &'a Rule,
    question: Question,
    cost: NonZeroU32,
}

/// Spends from all rules or from none.
fn settle(bids: &[Option<Bid<'_>>]) -> Decision {
    // One rule decides and spends in one step; of more, none may spend before all have agreed.
    if bids.len() > 1 {
        let refusals = bids.iter().flatten().filter_map(|bid| bid.ask(Purpose::Look).err());
        if let Some(denial) = refusals.max_by_key(|denial| denial.retry_after) {
            return Decision::Deny(denial);
        }
    }
    let mut tightest: Option<Standing> = None;
    for (spent, bid) in bids.iter().flatten().enumerate() {
        match bid.ask(Purpose::Spend) {
            Ok(standing) => tightest = Some(tightest.map_or(standing, |other| other.tighter(standing))),
            Err(denial) => {
                // Another thread was faster since all agreed.
                for earlier in bids.iter().flatten().take(spent) {
                    // Giving back cannot be refused.
                    let _ = earlier.ask(Purpose::GiveBack);
                }
                return Decision::Deny(denial);
            }
        }
    }
    Decision::Allow(tightest)
}

impl Bid<'_> {
    fn ask(&self, purpose: Purpose) -> Result<Standing, Denial> {
        let standing = |remaining, more_in| Standing { rule: self.index, remaining, more_in };
        match self.rule.allowances.ask(&Question { purpose, ..self.question }, self.cost) {
            Ok(remaining) => Ok(standing(remaining, self.more_in(purpose, remaining))),
            Err(Short { wait, remaining }) => Err(Denial { standing: standing(remaining, wait), retry_after: wait }),
        }
    }

    /// How long until there is one more than `remaining`.
    fn more_in(&self, purpose: Purpose, remaining: u32) -> Duration {
        let interval = self.rule.allowances.interval();
        // Headers have whole seconds, rounded up: only slow rates are worth a second question.
        if purpose != Purpose::Spend || interval <= Duration::from_secs(1) {
            return interval;
        }
        let question = Question { purpose: Purpose::Look, ..self.question };
        let next = NonZeroU32::MIN.saturating_add(remaining);
        self.rule.allowances.ask(&question, next).map_or_else(|short| short.wait, |_| Duration::ZERO)
    }
}
