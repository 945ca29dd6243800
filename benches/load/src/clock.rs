//! The one place here that reads the time.

use std::time::{Duration, Instant};

/// Now, by the system's monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the one reader")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// `time` in whole microseconds, rounded down.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
