//! What is counted: refusals by rule, and keys forgotten.

use std::sync::OnceLock;

use metrics::{Counter, counter};

use super::decision::Standing;
use super::rules::RateLimits;

/// `rate_limited_total{rule}` and `rate_limit_evictions_total`; each handle is looked up once, when it is first needed.
pub(super) struct Counters {
    rules: Box<[(String, OnceLock<Counter>)]>,
    evictions: OnceLock<Counter>,
}

impl Counters {
    pub(super) fn new(limits: &RateLimits) -> Self {
        let rules = limits.as_slice().iter().map(|policy| (policy.name().into(), OnceLock::new()));
        Self { rules: rules.collect(), evictions: OnceLock::new() }
    }

    /// Counts a call that the rule of `standing` refused.
    pub(super) fn limited(&self, standing: &Standing) {
        let Some((name, handle)) = self.rules.get(standing.rule) else { return };
        handle.get_or_init(|| counter!("mcp_guard_rate_limited_total", "rule" => name.clone())).increment(1);
    }

    /// Counts allowances that were forgotten.
    pub(super) fn evicted(&self, count: u64) {
        if count > 0 {
            self.evictions.get_or_init(|| counter!("mcp_guard_rate_limit_evictions_total")).increment(count);
        }
    }
}

/// Handles have nothing to show.
impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}
