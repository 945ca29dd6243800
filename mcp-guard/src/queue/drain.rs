//! How fast places come free while others wait for them.

use std::time::{Duration, Instant};

/// The longest wait that is promised: a rate this low says that nothing moves at all.
const PROMISE_MAX: Duration = Duration::from_secs(60);

/// The shortest time over which places that come free are counted.
const SPAN: Duration = Duration::from_millis(100);

/// How many usual intervals may pass without one: calls that began together end together, and then none does for a while.
const LULL: u32 = 32;

/// The mean time between two places that come free, over times in which somebody waits.
///
/// Places are counted over [`SPAN`] at least, and not from one to the next: those of calls that began together come free
/// together. Each span counts half of what was known before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DrainRate {
    since: Option<Instant>,
    freed: u32,
    freed_last: Option<Instant>,
    interval: Option<Duration>,
}

impl DrainRate {
    /// A place came free at `now`; `wanted` says whether somebody waited for it.
    pub(super) fn freed(&mut self, wanted: bool, now: Instant) {
        match self.since {
            Some(_) if !wanted => self.begin(None),
            Some(since) => {
                self.freed += 1;
                self.freed_last = Some(now);
                if now.saturating_duration_since(since) >= SPAN {
                    self.begin(Some(now));
                }
            }
            None => self.begin(wanted.then_some(now)),
        }
    }

    /// Begins to count anew, and keeps what was counted, where that was long enough.
    fn begin(&mut self, since: Option<Instant>) {
        self.interval = match (self.counted().filter(|(span, _)| *span >= SPAN), self.interval) {
            (Some((_, counted)), Some(interval)) => Some((counted + interval) / 2),
            _ => self.interval(),
        };
        (self.since, self.freed, self.freed_last) = (since, 0, since);
    }

    /// Over how long is counted now, and the mean time between two places in that.
    fn counted(&self) -> Option<(Duration, Duration)> {
        let span = self.freed_last?.saturating_duration_since(self.since?);
        Some((span, span.checked_div(self.freed)?))
    }

    /// The usual time between two places; `None` while nothing has been seen.
    fn interval(&self) -> Option<Duration> {
        self.interval.or_else(|| Some(self.counted()?.1).filter(|counted| !counted.is_zero()))
    }

    /// How long until `places` more have come free, at most a minute; `unknown` while nothing has been seen.
    pub(super) fn time_for(&self, places: usize, unknown: Duration, now: Instant) -> Duration {
        let Some(interval) = self.interval() else { return unknown.min(PROMISE_MAX) };
        // Where nothing has come free for longer than usual, the usual is no longer true.
        let silence = self.freed_last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        let interval = if silence > interval.saturating_mul(LULL) { silence } else { interval };
        let places = u32::try_from(places).unwrap_or(u32::MAX);
        interval.saturating_mul(places).min(PROMISE_MAX)
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
    fn places_that_come_free_together_are_as_many_as_those_that_do_not() {
        let (mut rate, start) = (DrainRate::default(), start());
        for batch in 0..5 {
            (0..20).for_each(|_| rate.freed(true, start + batch * 200 * MS));
        }
        for after in [1, 100, 199] {
            let told = rate.time_for(100, MS, start + (800 + after) * MS);
            assert!((900 * MS..1_100 * MS).contains(&told), "{told:?}");
        }
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
