//! How long a breaker stays tripped, the first time and the next.

use std::time::Duration;

/// Doubles from `first` up to `max`.
///
/// failsafe's own `backoff::exponential` counts whole seconds and panics below one, so this iterator is what its policies are given.
#[derive(Clone, Debug)]
pub(super) struct OpenTimes {
    next: Duration,
    max: Duration,
}

impl OpenTimes {
    pub(super) fn new(first: Duration, max: Duration) -> Self {
        Self { next: first.min(max), max }
    }
}

impl Iterator for OpenTimes {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let open = self.next;
        self.next = open.saturating_mul(2).min(self.max);
        Some(open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_time_doubles_up_to_its_bound() {
        let times = OpenTimes::new(Duration::from_millis(300), Duration::from_secs(3));
        let millis: Vec<_> = times.take(6).map(|time| time.as_millis()).collect();
        assert_eq!(millis, [300, 600, 1200, 2400, 3000, 3000]);
    }
}
