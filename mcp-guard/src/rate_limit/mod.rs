//! Limits on how often each caller may call.
//!
//! | file | what |
//! | --- | --- |
//! | `policy.rs`, `rules.rs` | what the operator asked for: one rule, all rules |
//! | `limiter.rs`, `decision.rs` | asks all rules about a call, and what comes of it |
//! | `key.rs` | who is calling, as 128 bits |
//! | `allowance.rs` | GCRA by governor, under a clock that is given |
//! | `table.rs` | the bounded memory behind it |
//! | `headers.rs` | `RateLimit` and `RateLimit-Policy` |
//! | `layer.rs`, `service.rs` | the tower adapter |
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
mod decision;
mod key;
mod limiter;
mod policy;
mod rules;
mod table;

pub use decision::{Decision, Denial, Standing};
pub use limiter::RateLimiter;
pub use policy::{
    CallMatch, FULL_REFILL_MAX, IPV6_PREFIX_BITS, InvalidRateLimit, KEYS_MAX_DEFAULT, KEYS_MAX_MAX, KeyPart,
    NAME_BYTES_MAX, RateLimitPolicy,
};
pub use rules::{InvalidRateLimits, RULES_MAX, RateLimits};

#[cfg(test)]
mod limiter_tests;
#[cfg(test)]
mod policy_tests;
