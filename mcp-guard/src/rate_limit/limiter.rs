//! Asks all rules about a call.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::allowance::Allowances;
use super::bid::{self, Bid, Claim};
use super::decision::{Decision, Denial, Standing};
use super::key::{Caller, KeyHasher};
use super::policy::RateLimitPolicy;
use super::rules::{RULES_MAX, RateLimits};
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
/// body is read nobody knows what is in it, so there each HTTP request counts as one; what else is in a batch
/// ([`Call::later_member`]) counts after.
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
    /// Shared with the limiter that this one succeeds, where that had the same rule.
    allowances: Arc<Allowances>,
}

impl RateLimiter {
    /// Whole allowances for everybody; `start` is now, and no later call may be earlier than it.
    pub fn new(limits: &RateLimits, start: Instant) -> Self {
        Self::counting(limits, start, Arc::new(AtomicU64::new(0)))
    }

    fn counting(limits: &RateLimits, start: Instant, evictions: Arc<AtomicU64>) -> Self {
        let rule = |policy: &RateLimitPolicy| Rule {
            allowances: Arc::new(Allowances::new(policy, Arc::clone(&evictions))),
            policy: policy.clone(),
        };
        let rules = limits.as_slice().iter().map(rule).collect();
        Self { rules, hasher: KeyHasher::default(), start, evictions }
    }

    /// The limiter for `limits` that succeeds this one: what callers have spent under a rule stays spent if the rule is the
    /// same in all. Under a rule that is new or another than it was, everybody has a whole allowance.
    #[must_use]
    pub fn succeeded(&self, limits: &RateLimits) -> Self {
        // Tables that are taken over count where they did.
        let mut next = Self::counting(limits, self.start, Arc::clone(&self.evictions));
        next.hasher = self.hasher.clone();
        for rule in &mut next.rules {
            if let Some(same) = self.rules.iter().find(|before| before.policy == rule.policy) {
                rule.allowances = Arc::clone(&same.allowances);
            }
        }
        next
    }

    /// Asks the rules that look at the client's address alone, each for one call.
    pub fn before_body(&self, client: Option<IpAddr>, now: Instant) -> Decision {
        let caller = Caller { client, ..Caller::default() };
        self.decide_by(&caller, now, |policy| policy.is_of_client_only().then_some(Claim::Spend(NonZeroU32::MIN)))
    }

    /// Asks the rules that [`before_body`](Self::before_body) could not.
    ///
    /// `cost` is how many calls this one counts as. What it counts beyond the one that its HTTP request counted as is
    /// spent from the rules of `before_body` here.
    pub fn after_body(&self, call: &Call, cost: NonZeroU32, now: Instant) -> Decision {
        if !is_counted(call) {
            return Decision::Allow(None);
        }
        let rest = cost.get() - u32::from(!call.later_member);
        let rest = NonZeroU32::new(rest).map_or(Claim::Look, Claim::Spend);
        self.decide_by(&call.into(), now, |policy| {
            if policy.is_of_client_only() { Some(rest) } else { policy.applies_to(call).then_some(Claim::Spend(cost)) }
        })
    }

    /// Asks every rule at once, for hosts that do not ask [`before_body`](Self::before_body).
    ///
    /// `cost` is how many calls this one counts as.
    pub fn decide(&self, call: &Call, cost: NonZeroU32, now: Instant) -> Decision {
        self.decide_by(&call.into(), now, |policy| {
            let applies = match call.kind {
                Kind::Listen => policy.is_of_client_only(),
                Kind::Request | Kind::Notification | Kind::Response | Kind::End => {
                    is_counted(call) && policy.applies_to(call)
                }
            };
            applies.then_some(Claim::Spend(cost))
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

    /// Asks the rules from which something is claimed.
    fn decide_by(
        &self,
        caller: &Caller<'_>,
        now: Instant,
        claim: impl Fn(&RateLimitPolicy) -> Option<Claim>,
    ) -> Decision {
        let now = u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX);
        // On the stack, since this is done for every call.
        let mut bids = [const { None }; RULES_MAX];
        let mut count = 0;
        for (index, rule) in self.rules.iter().enumerate() {
            if let Some(claim) = claim(&rule.policy)
                && let Some(place) = bids.get_mut(count)
            {
                let key = self.hasher.key(rule.policy.key(), caller);
                *place = Some(Bid { rule: index, allowances: &rule.allowances, key, now, claim });
                count += 1;
            }
        }
        bid::settle(bids.get(..count).unwrap_or_default())
    }
}

/// Whether `call` is one of those that rates are about.
fn is_counted(call: &Call) -> bool {
    matches!(call.kind, Kind::Request | Kind::Notification)
}
