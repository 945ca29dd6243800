//! All rules together.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::policy::{CallMatch, KeyPart, RateLimitPolicy};
use crate::call::Method;
use crate::config::ToolPolicy;
use crate::matcher::Pattern;

/// The rules that a call must pass, all of them.
///
/// Default: `per-client` (100/s by client) and `per-tool` (50/s of `tools/call` by client and tool).
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "Vec<RateLimitPolicy>", into = "Vec<RateLimitPolicy>")]
#[schemars(with = "Vec<RateLimitPolicy>")]
pub struct RateLimits(Vec<RateLimitPolicy>);

/// Rules that cannot stand together.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidRateLimits {
    /// Refusals, headers and metrics could not tell them apart.
    #[error("two rules are called `{0}`: each needs a name of its own")]
    NameTwice(String),
    /// Each call asks every rule.
    #[error("{0} rules: allowed are {RULES_MAX}")]
    TooMany(usize),
    /// A call that no allowance ever holds.
    #[error("a call of `{tool}` costs {cost}, but rule `{rule}` never allows more than {burst}: raise its burst")]
    CostAboveBurst {
        /// The pattern of the tool's policy.
        tool: String,
        /// What one call of it costs.
        cost: NonZeroU32,
        /// The rule that may hold for it.
        rule: String,
        /// What that rule allows at once.
        burst: NonZeroU32,
    },
}

/// The most rules; each call asks every one.
pub const RULES_MAX: usize = 16;

impl RateLimits {
    /// These rules together; none means no limit.
    ///
    /// # Errors
    ///
    /// [`InvalidRateLimits`] if two have the same name, or there are more than [`RULES_MAX`].
    pub fn new(policies: Vec<RateLimitPolicy>) -> Result<Self, InvalidRateLimits> {
        if policies.len() > RULES_MAX {
            return Err(InvalidRateLimits::TooMany(policies.len()));
        }
        let mut names = std::collections::HashSet::new();
        match policies.iter().find(|policy| !names.insert(policy.name())) {
            Some(policy) => Err(InvalidRateLimits::NameTwice(policy.name().into())),
            None => Ok(Self(policies)),
        }
    }

    /// The rules, in the order of the configuration.
    pub fn as_slice(&self) -> &[RateLimitPolicy] {
        &self.0
    }

    /// Compares what calls cost with what the rules allow at once.
    ///
    /// Where two patterns meet in a way that neither text shows (`a_*` and `*_b`), nothing is found here; then such a
    /// call spends the whole burst at run time, see [`RateLimiter`](super::RateLimiter).
    ///
    /// # Errors
    ///
    /// [`InvalidRateLimits::CostAboveBurst`] for the first tool whose calls cost more than a rule for them ever holds.
    pub fn check_costs(&self, tools: &[ToolPolicy]) -> Result<(), InvalidRateLimits> {
        let pairs = tools.iter().flat_map(|tool| self.0.iter().map(move |rule| (tool, rule)));
        let mut never = pairs.filter(|(tool, rule)| tool.cost > rule.burst() && rule.may_apply_to(tool));
        match never.next() {
            None => Ok(()),
            Some((tool, rule)) => Err(InvalidRateLimits::CostAboveBurst {
                tool: tool.name.as_str().into(),
                cost: tool.cost,
                rule: rule.name().into(),
                burst: rule.burst(),
            }),
        }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        let calls = CallMatch { method: Some(Pattern::new(Method::TOOLS_CALL)), ..CallMatch::default() };
        let rules = [
            ("per-client", &[KeyPart::Client][..], "100/s", CallMatch::default()),
            ("per-tool", &[KeyPart::Client, KeyPart::Tool][..], "50/s", calls),
        ];
        let policy = |(name, key, rate, matching): (_, _, &str, _)| {
            Some(RateLimitPolicy::new(name, key, rate.parse().ok()?).ok()?.matching(matching))
        };
        Self(rules.into_iter().filter_map(policy).collect())
    }
}

impl TryFrom<Vec<RateLimitPolicy>> for RateLimits {
    type Error = InvalidRateLimits;

    fn try_from(policies: Vec<RateLimitPolicy>) -> Result<Self, InvalidRateLimits> {
        Self::new(policies)
    }
}

impl From<RateLimits> for Vec<RateLimitPolicy> {
    fn from(limits: RateLimits) -> Self {
        limits.0
    }
}
