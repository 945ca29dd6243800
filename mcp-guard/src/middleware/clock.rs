//! The one place that reads the time.

use std::time::Instant;

/// Now, by tokio's clock: a paused test controls it.
#[expect(clippy::disallowed_methods, reason = "this is the one reader")]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
