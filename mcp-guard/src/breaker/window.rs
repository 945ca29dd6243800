//! Counts over recent time.

use std::time::{Duration, Instant};

/// How many calls ended in the recent past, and how many of them failed.
///
/// A ring of ten slots, each a tenth of the window long. A slot is forgotten whole, so what is counted is between nine and ten tenths
/// of the window. Counts rather than a decaying average: "5 of the last 10 failed" can be checked with a log in hand.
#[derive(Debug)]
pub(super) struct Window {
    slots: [Counts; SLOTS],
    current: usize,
    current_since: Instant,
    slot: Duration,
}

/// Calls that ended, and the failed ones among them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) failures: u64,
}

const SLOTS: usize = 10;

impl Window {
    /// An empty window of `length`, which must be at least 10 ns.
    pub(super) fn new(length: Duration, now: Instant) -> Self {
        let slot = (length / 10).max(Duration::from_nanos(1));
        Self { slots: [Counts::default(); SLOTS], current: 0, current_since: now, slot }
    }

    /// Counts one call.
    pub(super) fn record(&mut self, failed: bool, now: Instant) {
        self.advance(now);
        if let Some(slot) = self.slots.get_mut(self.current) {
            slot.calls += 1;
            slot.failures += u64::from(failed);
        }
    }

    /// What was counted in the window that ends now.
    pub(super) fn counts(&mut self, now: Instant) -> Counts {
        self.advance(now);
        self.slots.iter().fold(Counts::default(), |sum, slot| Counts {
            calls: sum.calls + slot.calls,
            failures: sum.failures + slot.failures,
        })
    }

    /// Forgets the slots that are too old. A clock that steps back changes nothing.
    fn advance(&mut self, now: Instant) {
        let behind = now.saturating_duration_since(self.current_since);
        let steps = behind.as_nanos() / self.slot.as_nanos();
        if steps >= SLOTS as u128 {
            self.slots = [Counts::default(); SLOTS];
            self.current_since = now;
            return;
        }
        for _ in 0..steps {
            self.current = (self.current + 1) % SLOTS;
            self.current_since += self.slot;
            if let Some(slot) = self.slots.get_mut(self.current) {
                *slot = Counts::default();
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant will do as the start")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: Duration = Duration::from_secs(10);

    #[test]
    fn a_call_is_forgotten_after_the_window() {
        let start = Instant::now();
        let mut window = Window::new(LENGTH, start);
        window.record(true, start);
        assert_eq!(window.counts(start + Duration::from_millis(9_999)), Counts { calls: 1, failures: 1 });
        assert_eq!(window.counts(start + LENGTH), Counts::default());
    }

    proptest! {
        /// Nothing younger than nine tenths of the window is missing, nothing older than the window is there.
        #[test]
        fn counts_lie_between_nine_tenths_and_the_whole(steps in prop::collection::vec((0_u64..3_000, any::<bool>()), 1..80)) {
            let start = Instant::now();
            let mut window = Window::new(LENGTH, start);
            let mut now = start;
            let mut calls = Vec::new();
            for (wait_ms, failed) in steps {
                now += Duration::from_millis(wait_ms);
                window.record(failed, now);
                calls.push((now, failed));
                let within = |age: Duration, failures_only: bool| {
                    calls.iter().filter(|(at, failed)| now - *at < age && (*failed || !failures_only)).count() as u64
                };
                let counts = window.counts(now);
                prop_assert!(within(LENGTH * 9 / 10, false) <= counts.calls && counts.calls <= within(LENGTH, false));
                prop_assert!(within(LENGTH * 9 / 10, true) <= counts.failures && counts.failures <= within(LENGTH, true));
            }
        }
    }
}
