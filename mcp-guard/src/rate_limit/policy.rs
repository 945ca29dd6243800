//! One rule, as the operator asked for it.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::call::{Call, Method};
use crate::config::ToolPolicy;
use crate::matcher::Pattern;
use crate::units::Rate;

/// How many calls each caller may make, and how fast the allowance comes back.
///
/// A caller starts with `burst` calls in hand. Every [`interval`](Self::interval) gives one back, never above `burst`.
/// Who is *a caller* is for `key` to say: each combination of its parts that is seen has an allowance of its own.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "RateLimitSpec", into = "RateLimitSpec")]
#[schemars(with = "RateLimitSpec")]
pub struct RateLimitPolicy {
    name: String,
    key: Vec<KeyPart>,
    matching: CallMatch,
    rate: Rate,
    burst: NonZeroU32,
    keys_max: NonZeroU32,
}

/// One of the things by which calls are told apart.
///
/// A call that lacks the part shares one allowance with all others that lack it, so nobody escapes by leaving it out.
/// `session` and `tool` are what the client says: whoever makes up new ones gets new allowances, so a rule with one of
/// them wants a rule on `client` or `subject` beside it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyPart {
    /// The address of the client; of IPv6 the network, its first [`IPV6_PREFIX_BITS`] bits.
    Client,
    /// The session that the client named.
    Session,
    /// Who the caller is, as `key_with` of a layer says. The sidecar does not know that yet, and refuses it.
    Subject,
    /// The method.
    Method,
    /// The tool; only `tools/call` has one.
    Tool,
}

/// Which calls a rule is about: those in which every pattern that is given matches.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CallMatch {
    /// The method, as in `tools/*`; default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Pattern>,
    /// The tool, as in `report_*`; default: any, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<Pattern>,
    /// Who the caller is, as in `team-a/*`; default: anybody, or nobody. Only for the library: the sidecar does not know who
    /// calls yet, and refuses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Pattern>,
}

/// A rule that cannot be meant.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidRateLimit {
    /// Not a name for a header and a label.
    #[error("name is `{0}`: allowed are 1 to {NAME_BYTES_MAX} of a-z, 0-9, `_` and `-`")]
    Name(String),
    /// The same part twice.
    #[error("key names a part twice: each of client, session, subject, method and tool may stand in it once")]
    KeyPartTwice,
    /// More than anybody waits for.
    #[error("burst is {burst}: at {rate} that takes longer than {} days to earn", FULL_REFILL_MAX.as_secs() / 86_400)]
    BurstTooLarge {
        /// What was asked for.
        burst: NonZeroU32,
        /// At which rate.
        rate: Rate,
    },
    /// More memory than can be meant.
    #[error("keys_max is {0}: allowed is 1 to {KEYS_MAX_MAX}")]
    TooManyKeys(NonZeroU32),
}

/// The longest name of a rule, in bytes: it is sent in a header of each answer.
pub const NAME_BYTES_MAX: usize = 64;

/// How many callers a rule tells apart unless told otherwise: 2.4 MB.
pub const KEYS_MAX_DEFAULT: NonZeroU32 = match NonZeroU32::new(100_000) {
    Some(keys) => keys,
    None => NonZeroU32::MIN,
};

/// The largest `keys_max` that may be configured: 240 MB for one rule.
pub const KEYS_MAX_MAX: u32 = 10_000_000;

/// The longest time to earn a whole burst. What is longer is a mistake, and the sums in nanoseconds must not overflow.
pub const FULL_REFILL_MAX: Duration = Duration::from_secs(365 * 86_400);

/// How many bits of an IPv6 address make a client: a home or a server gets at least this whole network (RFC 6177), so
/// more bits would let one client be many.
pub const IPV6_PREFIX_BITS: u32 = 64;

impl RateLimitPolicy {
    /// Lets each caller make calls at `rate`, with as many at once as the rate counts.
    ///
    /// # Errors
    ///
    /// [`InvalidRateLimit`] if `name` is not 1 to 64 of `[a-z0-9_-]`, or `key` has a part twice.
    pub fn new(name: impl Into<String>, key: &[KeyPart], rate: Rate) -> Result<Self, InvalidRateLimit> {
        RateLimitSpec {
            name: name.into(),
            key: key.into(),
            matching: CallMatch::default(),
            rate,
            burst: None,
            keys_max: KEYS_MAX_DEFAULT,
        }
        .try_into()
    }

    /// The same with as many as `burst` calls at once.
    ///
    /// # Errors
    ///
    /// [`InvalidRateLimit::BurstTooLarge`] if that takes longer than [`FULL_REFILL_MAX`] to earn.
    pub fn with_burst(self, burst: NonZeroU32) -> Result<Self, InvalidRateLimit> {
        RateLimitSpec { burst: Some(burst), ..self.into() }.try_into()
    }

    /// The same with as many as `keys_max` callers told apart at a time.
    ///
    /// # Errors
    ///
    /// [`InvalidRateLimit::TooManyKeys`] above [`KEYS_MAX_MAX`].
    pub fn with_keys_max(self, keys_max: NonZeroU32) -> Result<Self, InvalidRateLimit> {
        RateLimitSpec { keys_max, ..self.into() }.try_into()
    }

    /// The same for the calls of `matching` only.
    #[must_use]
    pub fn matching(mut self, matching: CallMatch) -> Self {
        self.matching = matching;
        self
    }

    /// What it is called, in refusals, headers and metrics.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// By what calls are told apart; empty: not at all, all share one allowance.
    pub fn key(&self) -> &[KeyPart] {
        &self.key
    }

    /// Which calls the rule is about.
    pub fn call_match(&self) -> &CallMatch {
        &self.matching
    }

    /// How fast calls are earned.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The most calls at once.
    pub fn burst(&self) -> NonZeroU32 {
        self.burst
    }

    /// How many callers are told apart at a time; 24 bytes each.
    pub fn keys_max(&self) -> NonZeroU32 {
        self.keys_max
    }

    /// The time in which one call is earned, in whole nanoseconds, rounded up so that the rate is never exceeded.
    pub fn interval(&self) -> Duration {
        let nanos = self.rate.per().as_nanos().div_ceil(u128::from(self.rate.count()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The time from no allowance to a whole one.
    pub fn full_refill(&self) -> Duration {
        self.interval().saturating_mul(self.burst.get())
    }

    /// Whether `call` is one of those that the rule is about.
    pub fn applies_to(&self, call: &Call) -> bool {
        self.matching.matches(call)
    }

    /// Whether the client's address is all that the rule looks at, so that it can be asked before a body is read.
    pub fn is_of_client_only(&self) -> bool {
        self.key == [KeyPart::Client] && self.matching == CallMatch::default()
    }

    /// Whether a call of a tool that `tool` means may be one of those that the rule is about.
    pub(super) fn may_apply_to(&self, tool: &ToolPolicy) -> bool {
        let CallMatch { method, tool: tools, .. } = &self.matching;
        let meets = |pattern: &Pattern| pattern.matches(tool.name.as_str()) || tool.name.matches(pattern.as_str());
        method.as_ref().is_none_or(|pattern| pattern.matches(Method::TOOLS_CALL)) && tools.as_ref().is_none_or(meets)
    }
}

impl CallMatch {
    fn matches(&self, call: &Call) -> bool {
        let fits = |pattern: &Option<Pattern>, text: Option<&str>| {
            pattern.as_ref().is_none_or(|pattern| text.is_some_and(|text| pattern.matches(text)))
        };
        fits(&self.method, Some(call.method.as_str()))
            && fits(&self.tool, call.tool())
            && fits(&self.subject, call.subject.as_deref())
    }
}

/// One limit on the rate of calls.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RateLimit")]
struct RateLimitSpec {
    /// What it is called, in refusals, headers and metrics: 1 to 64 of a-z, 0-9, `_` and `-`.
    #[schemars(regex(pattern = "^[a-z0-9_-]{1,64}$"))]
    name: String,
    /// By what calls are told apart: any of client, session, method, tool, and of subject in the library; the sidecar does not
    /// know that yet, and refuses it. Empty: one allowance for all.
    key: Vec<KeyPart>,
    /// Which calls it is about; default: all.
    #[serde(default, rename = "match", skip_serializing_if = "is_default")]
    matching: CallMatch,
    /// How fast calls are earned, as in 50/s.
    rate: Rate,
    /// The most calls at once; default: as many as the rate counts.
    #[serde(default)]
    burst: Option<NonZeroU32>,
    /// How many keys are kept, 24 bytes each; above it the one with the most allowance left is forgotten.
    #[serde(default = "keys_max_default")]
    keys_max: NonZeroU32,
}

fn keys_max_default() -> NonZeroU32 {
    KEYS_MAX_DEFAULT
}

fn is_default(matching: &CallMatch) -> bool {
    *matching == CallMatch::default()
}

impl TryFrom<RateLimitSpec> for RateLimitPolicy {
    type Error = InvalidRateLimit;

    fn try_from(spec: RateLimitSpec) -> Result<Self, InvalidRateLimit> {
        let RateLimitSpec { name, key, matching, rate, burst, keys_max } = spec;
        let burst = burst.or(NonZeroU32::new(rate.count())).unwrap_or(NonZeroU32::MIN);
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
            return Err(InvalidRateLimit::Name(name));
        }
        let mut seen = std::collections::HashSet::new();
        if !key.iter().all(|part| seen.insert(part)) {
            return Err(InvalidRateLimit::KeyPartTwice);
        }
        if keys_max.get() > KEYS_MAX_MAX {
            return Err(InvalidRateLimit::TooManyKeys(keys_max));
        }
        let policy = Self { name, key, matching, rate, burst, keys_max };
        if policy.full_refill() > FULL_REFILL_MAX {
            return Err(InvalidRateLimit::BurstTooLarge { burst, rate });
        }
        Ok(policy)
    }
}

impl From<RateLimitPolicy> for RateLimitSpec {
    fn from(policy: RateLimitPolicy) -> Self {
        let RateLimitPolicy { name, key, matching, rate, burst, keys_max } = policy;
        Self { name, key, matching, rate, burst: Some(burst), keys_max }
    }
}
