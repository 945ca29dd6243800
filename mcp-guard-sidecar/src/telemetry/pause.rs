//! Spares calls the making of spans that nobody takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mcp_guard::middleware::clock;

/// Until when no trace begins, because the collector is behind, or away. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Pause(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    start: Instant,
    /// In milliseconds since the start; 0 for never.
    until: AtomicU64,
}

impl Pause {
    pub(super) fn new() -> Self {
        Self(Arc::new(Shared { start: clock::now(), until: AtomicU64::new(0) }))
    }

    /// Begins no traces for so long from now on, at least.
    pub(super) fn last(&self, time: Duration) {
        self.0.until.fetch_max(self.millis(clock::now() + time), Ordering::Relaxed);
    }

    /// Whether no trace begins now.
    pub(super) fn is_on(&self) -> bool {
        let until = self.0.until.load(Ordering::Relaxed);
        // Nearly always, and then the time is not asked for.
        until > 0 && self.millis(clock::now()) < until
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.0.start).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_over_after_its_time_and_a_longer_one_counts() {
        let pause = Pause::new();
        assert!(!pause.is_on());
        pause.last(Duration::from_secs(5));
        pause.last(Duration::from_secs(1));
        tokio::time::advance(Duration::from_millis(4999)).await;
        assert!(pause.is_on());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!pause.is_on());
    }
}
