//! How fast places come free while others wait for them.

use std::time::{Duration, Instant};

/// The longest wait that is promised: a rate this low says that nothing moves at all.
const PROMISE_MAX: Duration = Duration::from_secs(60);

/// A moving average of the time between two places that come free, over times in which somebody waits.
///
/// Each new time counts an eighth, as in TCP's estimate of the round trip (RFC 6298, section 2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DrainRate {
    freed_last: Option<Instant>,
    interval: Option<Duration>,
}

impl DrainRate {
    /// A place came free at `now`; `wanted` says whether somebody waited for it.
    pub(super) fn freed(&mut self, wanted: bool, now: Instant) {
        let since = self.freed_last.map(|last| now.saturating_duration_since(last));
        self.freed_last = wanted.then_some(now);
        if let (true, Some(since)) = (wanted, since) {
            self.interval = Some(self.interval.map_or(since, |interval| (interval * 7 + since) / 8));
        }
    }

    /// How long until `places` more have come free, at most a minute; `unknown` while nothing has been seen.
    pub(super) fn time_for(&self, places: usize, unknown: Duration, now: Instant) -> Duration {
        let Some(interval) = self.interval else { return unknown.min(PROMISE_MAX) };
        // Where nothing has come free for longer than usual, the usual is no longer true.
        let silence = self.freed_last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        interval.max(silence).saturating_mul(places).min(PROMISE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::{MS, start};

    #[test]
    fn a_wait_is_the_number_of_places_times_the_usual_interval() {
        let (mut rate, start) = (DrainRate::default(), start());
        assert_eq!(rate.time_for(3, 7 * MS, start), 7 * MS);
        for step in 0..5 {
            rate.freed(true, start + step * 10 * MS);
        }
        assert_eq!(rate.time_for(3, 7 * MS, start + 40 * MS), 30 * MS);
    }

    #[test]
    fn times_in_which_nobody_waits_do_not_count() {
        let (mut rate, start) = (DrainRate::default(), start());
        rate.freed(true, start);
        rate.freed(true, start + 10 * MS);
        rate.freed(false, start + 20 * MS);
        rate.freed(true, start + 10_000 * MS);
        assert_eq!(rate.time_for(1, MS, start + 10_000 * MS), 10 * MS);
    }

    #[test]
    fn a_node_that_stands_still_is_promised_later_but_never_past_a_minute() {
        let (mut rate, start) = (DrainRate::default(), start());
        rate.freed(true, start);
        rate.freed(true, start + 10 * MS);
        assert_eq!(rate.time_for(2, MS, start + 1_010 * MS), 2_000 * MS);
        assert_eq!(rate.time_for(1_000_000, MS, start + 1_010 * MS), PROMISE_MAX);
    }
}
