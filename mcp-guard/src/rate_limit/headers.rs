//! The fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::decision::Standing;
use super::policy::RateLimitPolicy;
use super::rules::RateLimits;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// What the fields say of each rule, in the order of the rules.
#[derive(Debug)]
pub(super) struct Headers(Box<[Row]>);

#[derive(Debug)]
struct Row {
    /// The rule's name in quotes.
    quoted: String,
    policy: HeaderValue,
}

impl Headers {
    pub(super) fn new(limits: &RateLimits) -> Self {
        let row = |policy: &RateLimitPolicy| Row { quoted: format!("\"{}\"", policy.name()), policy: item(policy) };
        Self(limits.as_slice().iter().map(row).collect())
    }

    /// Adds a field of each kind about `standing`. Those of the node stay beside them: each field is a list.
    pub(super) fn append(&self, standing: &Standing, headers: &mut HeaderMap) {
        let Some(row) = self.0.get(standing.rule) else { return };
        headers.append(POLICY, row.policy.clone());
        if let Some(state) = state(&row.quoted, standing) {
            headers.append(STATE, state);
        }
    }
}

/// `"name";q=BURST;w=SECONDS`: so many at once, and all of them back in so many seconds.
fn item(policy: &RateLimitPolicy) -> HeaderValue {
    let (rate, burst) = (policy.rate(), policy.burst());
    // From the rate as it was written: that the interval is rounded up would make 2 s of the second of `3/s`.
    let seconds = (u128::from(burst.get()) * rate.per().as_nanos()).div_ceil(u128::from(rate.count()) * 1_000_000_000);
    let text = format!("\"{}\";q={burst};w={seconds}", policy.name());
    // Names hold nothing that a header could not.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// `"name";r=REMAINING;t=SECONDS`: what is left, and when there is more; without `t` when all are there.
///
/// Written for every answer, so without the machinery of `format!`.
fn state(quoted: &str, standing: &Standing) -> Option<HeaderValue> {
    let (mut remaining, mut wait) = (itoa::Buffer::new(), itoa::Buffer::new());
    let remaining = remaining.format(standing.remaining);
    let (t, wait) = if standing.more_in.is_zero() { ("", "") } else { (";t=", wait.format(seconds(standing.more_in))) };
    // Joined at once, so that the text is as long as its allocation, which becomes the value.
    HeaderValue::try_from([quoted, ";r=", remaining, t, wait].concat()).ok()
}

/// Whole seconds, rounded up.
fn seconds(span: Duration) -> u64 {
    span.as_secs() + u64::from(span.subsec_nanos() > 0)
}
