//! Limits on how often each caller may call.
//!
//! | file | what |
//! | --- | --- |
//! | `policy.rs`, `rules.rs` | what the operator asked for: one rule, all rules |
//! | `limiter.rs`, `decision.rs` | asks all rules about a call, and what comes of it |
//! | `bid.rs` | what one call asks of one rule, and how several rules agree |
//! | `key.rs` | who is calling, as 128 bits |
//! | `allowance.rs` | GCRA by governor, under a clock that is given |
//! | `table.rs` | the bounded memory behind it |
//! | `headers.rs` | `RateLimit` and `RateLimit-Policy` |
//! | `layer.rs`, `service.rs`, `counters.rs` | the tower adapter, and what it counts |
//!
//! Every rule that applies must have allowance left for a call, else it is refused and spends from none:
//!
//! ```yaml
//! rate_limits:
//!   - {name: per-client, key: [client], rate: 100/s, burst: 100}
//!   - {name: per-tool, key: [client, tool], match: {method: tools/call}, rate: 50/s, burst: 50}
//!   - {name: reports, key: [subject], match: {tool: "report_*"}, rate: 60/h, burst: 5, keys_max: 10000}
//!   - {name: everyone, key: [], rate: 5000/s}
//! ```
//!
//! A rule keeps as many as `keys_max` callers, 24 bytes each. When there is no place for a new one, the caller whose
//! allowance is nearest to whole is forgotten and starts anew (`rate_limit_evictions_total`); see `table.rs`.
//!
//! # The core alone
//!
//! ```
//! use std::num::NonZeroU32;
//! use std::time::{Duration, Instant};
//!
//! use mcp_guard::call::{Call, Kind, Method};
//! use mcp_guard::rate_limit::{Decision, KeyPart, RateLimitPolicy, RateLimiter, RateLimits};
//! use mcp_guard::revision::Revision;
//!
//! let rule = RateLimitPolicy::new("per-subject", &[KeyPart::Subject], "10/s".parse()?)?;
//! let rule = rule.with_burst(NonZeroU32::MIN)?;
//! let now = Instant::now();
//! let limiter = RateLimiter::new(&RateLimits::new(vec![rule])?, now);
//!
//! let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), Revision::V2025_11_25);
//! call.subject = Some("ada".into());
//! assert!(matches!(limiter.decide(&call, NonZeroU32::MIN, now), Decision::Allow(_)));
//! let Decision::Deny(denial) = limiter.decide(&call, NonZeroU32::MIN, now) else { panic!() };
//! assert_eq!(denial.retry_after(), Duration::from_millis(100));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod allowance;
mod bid;
#[cfg(feature = "tower")]
mod counters;
mod decision;
#[cfg(feature = "tower")]
mod headers;
mod key;
#[cfg(feature = "tower")]
mod layer;
mod limiter;
mod policy;
mod rules;
#[cfg(feature = "tower")]
mod service;
mod table;

pub use decision::{Decision, Denial, Standing};
pub use key::network;
#[cfg(feature = "tower")]
pub use layer::RateLimitLayer;
pub use limiter::RateLimiter;
pub use policy::{
    CallMatch, FULL_REFILL_MAX, IPV6_PREFIX_BITS, InvalidRateLimit, KEYS_MAX_DEFAULT, KEYS_MAX_MAX, KeyPart,
    NAME_BYTES_MAX, RateLimitPolicy,
};
pub use rules::{InvalidRateLimits, RULES_MAX, RateLimits};
#[cfg(feature = "tower")]
pub use service::RateLimit;

#[cfg(test)]
#[path = "../../../fuzz/checks/rate_limit.rs"]
mod fuzz_check;
#[cfg(test)]
mod limiter_tests;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
#[cfg(feature = "tower")]
mod tests;
