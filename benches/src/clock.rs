//! The one place here that reads the time.

use std::time::Instant;

/// Now, by the system's monotonic clock.
#[expect(clippy::disallowed_methods, reason = "this is the one reader")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
