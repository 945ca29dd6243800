//! How fast places come free.

use std::time::{Duration, Instant};

/// The longest wait that is promised: a rate this low says that nothing moves at all.
const PROMISE_MAX: Duration = Duration::from_secs(60);

/// After this what was seen counts half.
const HALF_LIFE: Duration = Duration::from_secs(1);

/// Nothing has come free for so many times as long as calls usually run: what is usual is no longer true.
const LULL: u32 = 4;

/// How long calls hold their places, and so the mean time between two that come free while all are taken: the one by the number
/// of places (Little, "A Proof for the Queuing Formula L = λW", Operations Research 9(3), 1961).
///
/// That is known whether anybody waits or not, and is right for calls that began together and end together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DrainRate {
    /// How long places were held, and how many, in parts of [`ONE`]; what is older counts less.
    held: Duration,
    freed: u64,
    fades_at: Option<Instant>,
    /// Since when somebody waits and no place has come free.
    silent_since: Option<Instant>,
}

/// One place that came free: it fades to no less than a thousandth before it is forgotten.
const ONE: u64 = 1024;

impl DrainRate {
    /// A place came free at `now` that was `held` for so long.
    pub(super) fn freed(&mut self, held: Duration, now: Instant) {
        if self.fades_at.is_none_or(|at| now >= at) {
            self.fade(now);
        }
        self.held += held;
        self.freed += ONE;
        self.silent_since = Some(now);
    }

    #[cold]
    fn fade(&mut self, now: Instant) {
        let late = self.fades_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let half_lives = u32::try_from(late.as_nanos() / HALF_LIFE.as_nanos()).unwrap_or(u32::MAX).saturating_add(1);
        self.freed = self.freed.checked_shr(half_lives).unwrap_or(0);
        self.held /= 1_u32.checked_shl(half_lives).unwrap_or(u32::MAX);
        self.fades_at = Some(now + HALF_LIFE);
    }

    /// The first who waits came at `now`.
    pub(super) fn wanted(&mut self, now: Instant) {
        self.silent_since = Some(now);
    }

    /// The mean time between two of `places` that come free while all are taken; `unknown` is how long a place is held while
    /// nothing has been seen.
    pub(super) fn interval(&self, places: u32, unknown: Duration, now: Instant) -> Duration {
        let mean = (self.held.as_nanos() * u128::from(ONE)).checked_div(u128::from(self.freed));
        let usual = mean.map_or(unknown, |nanos| Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        let silence = self.silent_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let held = if silence > usual.saturating_mul(LULL) { silence } else { usual };
        held / places.max(1)
    }

    /// How long until `count` of `places` have come free, at most a minute.
    pub(super) fn time_for(&self, count: usize, places: u32, unknown: Duration, now: Instant) -> Duration {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.interval(places, unknown, now).saturating_mul(count).min(PROMISE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::{MS, start};

    fn about(found: Duration, expected: Duration) -> bool {
        found.abs_diff(expected) <= expected / 20
    }

    #[test]
    fn a_wait_is_the_number_of_places_times_the_mean_interval() {
        let (mut rate, start) = (DrainRate::default(), start());
        assert_eq!(rate.time_for(3, 1, 7 * MS, start), 21 * MS);
        (0..5).for_each(|step| rate.freed(10 * MS, start + step * 10 * MS));
        assert!(about(rate.time_for(3, 1, 7 * MS, start + 40 * MS), 30 * MS));
        assert!(about(rate.time_for(3, 10, 7 * MS, start + 40 * MS), 3 * MS));
    }

    #[test]
    fn places_that_come_free_together_are_as_many_as_those_that_do_not() {
        let (mut rate, start) = (DrainRate::default(), start());
        for batch in 1..=5 {
            (0..20).for_each(|_| rate.freed(200 * MS, start + batch * 200 * MS));
        }
        for after in [1, 100, 199] {
            assert!(about(rate.time_for(100, 20, MS, start + (1_000 + after) * MS), 1_000 * MS));
        }
    }

    #[test]
    fn one_that_held_its_place_for_long_is_forgotten_in_seconds() {
        let (mut rate, start) = (DrainRate::default(), start());
        rate.freed(6_000 * MS, start);
        (1..=500).for_each(|step| rate.freed(20 * MS, start + step * 20 * MS));
        assert!(about(rate.interval(1, MS, start + 10_000 * MS), 20 * MS));
    }

    #[test]
    fn what_was_seen_counts_half_after_each_second() {
        let (mut rate, start) = (DrainRate::default(), start());
        rate.freed(100 * MS, start);
        rate.freed(10 * MS, start + 999 * MS);
        assert_eq!(rate.interval(1, MS, start + 999 * MS), 55 * MS);
        let mut later = rate;
        later.freed(5 * MS, start + 1_000 * MS);
        assert_eq!(later.interval(1, MS, start + 1_000 * MS), 30 * MS, "half of 110 for half of two, and one of 5");
        rate.freed(5 * MS, start + 2_500 * MS);
        let quarter = rate.interval(1, MS, start + 2_500 * MS);
        assert!(
            about(quarter, Duration::from_micros(21_667)),
            "a quarter of 110 for half a place, and one of 5: {quarter:?}"
        );
    }

    #[test]
    fn a_node_that_stands_still_is_promised_later_but_never_past_a_minute() {
        let (mut rate, start) = (DrainRate::default(), start());
        rate.freed(10 * MS, start);
        assert_eq!(rate.time_for(1, 1, MS, start + 40 * MS), 10 * MS, "four times as long is a lull yet");
        assert_eq!(rate.time_for(1, 1, MS, start + 41 * MS), 41 * MS);
        assert_eq!(rate.time_for(2, 1, MS, start + 1_000 * MS), 2_000 * MS);
        assert_eq!(rate.time_for(2, 4, MS, start + 1_000 * MS), 500 * MS);
        assert_eq!(rate.time_for(1_000_000, 1, MS, start + 1_000 * MS), PROMISE_MAX);
        rate.wanted(start + 9_000 * MS);
        assert_eq!(rate.time_for(1, 1, MS, start + 9_010 * MS), 10 * MS, "nobody waited meanwhile");
    }
}
