//! Whether the queue is a burst, which drains, or stands.

use std::time::{Duration, Instant};

use super::policy::QueuePolicy;

/// Tells a burst, which drains, from a standing queue, which only makes every call late.
///
/// A queue that has not been empty for [`QueuePolicy::max_wait`] stands. While it does, so many wait for the node as are served
/// within [`QueuePolicy::target_delay`], or a few ([`places`]), and whoever else comes is refused at once. It no longer stands
/// when it was empty for the target, or when nobody found it full for `max_wait`: one that is kept short is empty now and then in
/// the middle of an overload. This is the controlled delay of Maurer, "Fail at Scale" (ACM Queue 13(8), 2015), after CoDel
/// (Nichols and Jacobson, RFC 8289), with a bound on who comes in rather than on how long they stay: who is not going to be
/// served is told so when it comes. CoDel itself looks at the shortest wait of an interval; that says nothing about a queue with
/// priorities and turns, where somebody is always served at once, so emptiness stands in for it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum StandingQueue {
    #[default]
    Empty,
    Filled {
        at: Instant,
    },
    Stands {
        /// Since when nobody waits, if so.
        empty_since: Option<Instant>,
        /// When somebody came who found it full, or when it came to stand.
        full_at: Instant,
    },
}

impl StandingQueue {
    /// Notes whether anybody waits for the node at `now`.
    pub(super) fn note(&mut self, empty: bool, policy: &QueuePolicy, now: Instant) {
        let stands = self.stands(policy, now);
        *self = match (*self, stands, empty) {
            (Self::Empty | Self::Filled { .. } | Self::Stands { .. }, false, true) => Self::Empty,
            (Self::Filled { at }, false, false) => Self::Filled { at },
            (Self::Empty | Self::Stands { .. }, false, false) => Self::Filled { at: now },
            (Self::Empty | Self::Filled { .. }, true, empty) => {
                Self::Stands { empty_since: empty.then_some(now), full_at: now }
            }
            (Self::Stands { empty_since, full_at }, true, true) => {
                Self::Stands { empty_since: empty_since.or(Some(now)), full_at }
            }
            (Self::Stands { full_at, .. }, true, false) => Self::Stands { empty_since: None, full_at },
        };
    }

    /// Somebody comes at `now` and finds as many there as may wait.
    pub(super) fn found_full(&mut self, now: Instant) {
        match self {
            Self::Stands { full_at, .. } => *full_at = now,
            Self::Empty | Self::Filled { .. } => {}
        }
    }

    /// Whether it stands at `now`.
    pub(super) fn stands(&self, policy: &QueuePolicy, now: Instant) -> bool {
        let is_past = |since: Instant, time: Duration| now.saturating_duration_since(since) >= time;
        match *self {
            Self::Empty => false,
            Self::Filled { at } => is_past(at, policy.max_wait()),
            Self::Stands { empty_since, full_at } => {
                !empty_since.is_some_and(|since| is_past(since, policy.target_delay()))
                    && !is_past(full_at, policy.max_wait())
            }
        }
    }
}

/// Clients can only take turns where a few wait.
const TURNS: u128 = 16;

/// How many wait while the queue stands, where a place comes free each `interval`: as many as are served within
/// `target_delay`, or 16 of them if those are served within half of `max_wait`, else as many as are; and one at least.
pub(super) fn places(policy: &QueuePolicy, interval: Duration) -> usize {
    let served_within = |time: Duration| time.as_nanos() / interval.as_nanos().max(1);
    let turns = served_within(policy.max_wait() / 2).min(TURNS);
    usize::try_from(served_within(policy.target_delay()).max(turns).max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::{MS, start};

    const NANOSECOND: Duration = Duration::from_nanos(1);

    #[test]
    fn a_queue_stands_once_it_has_not_been_empty_for_as_long_as_one_may_wait() {
        let (policy, start) = (QueuePolicy::default(), start());
        let long = policy.max_wait();
        let mut queue = StandingQueue::default();
        queue.note(false, &policy, start);
        queue.note(false, &policy, start + long / 2);
        assert!(!queue.stands(&policy, start + long - NANOSECOND));
        assert!(queue.stands(&policy, start + long));
        let mut other = queue;
        other.note(true, &policy, start + long - NANOSECOND);
        other.note(false, &policy, start + long);
        assert!(!other.stands(&policy, start + long * 2 - NANOSECOND), "it was empty for a moment");
        assert!(other.stands(&policy, start + long * 2));
    }

    /// What becomes of a queue in each state, at a time when it stands and when it does not, with and without anybody who waits.
    #[test]
    fn the_next_state_is_that_of_the_table() {
        let (policy, start) = (QueuePolicy::default(), start());
        let (long, target) = (policy.max_wait(), policy.target_delay());
        let (stands, filled) =
            (|empty_since, full_at| StandingQueue::Stands { empty_since, full_at }, |at| StandingQueue::Filled { at });
        let now = start + long;
        let later = now + target;
        let much_later = now + long;
        for (before, at, empty, after) in [
            (StandingQueue::Empty, now, true, StandingQueue::Empty),
            (StandingQueue::Empty, now, false, filled(now)),
            (filled(start), now - NANOSECOND, true, StandingQueue::Empty),
            (filled(start), now - NANOSECOND, false, filled(start)),
            (filled(start), now, true, stands(Some(now), now)),
            (filled(start), now, false, stands(None, now)),
            (stands(None, now), later, true, stands(Some(later), now)),
            (stands(None, now), later, false, stands(None, now)),
            (stands(Some(now), now), later - NANOSECOND, true, stands(Some(now), now)),
            (stands(Some(now), now), later - NANOSECOND, false, stands(None, now)),
            (stands(Some(now), now), later, true, StandingQueue::Empty),
            (stands(Some(now), now), later, false, filled(later)),
            (stands(None, now), much_later - NANOSECOND, false, stands(None, now)),
            (stands(None, now), much_later, true, StandingQueue::Empty),
            (stands(None, now), much_later, false, filled(much_later)),
        ] {
            let mut queue = before;
            queue.note(empty, &policy, at);
            assert_eq!(queue, after, "from {before:?} at {at:?}, empty: {empty}");
        }
    }

    #[test]
    fn a_queue_stands_for_as_long_as_somebody_finds_it_full() {
        let (policy, start) = (QueuePolicy::default(), start());
        let mut queue = StandingQueue::Stands { empty_since: None, full_at: start };
        queue.found_full(start + policy.max_wait());
        assert!(queue.stands(&policy, start + policy.max_wait() * 2 - NANOSECOND));
        assert!(!queue.stands(&policy, start + policy.max_wait() * 2));
    }

    #[test]
    fn as_many_may_wait_as_are_served_within_the_target_and_a_few_to_take_turns_among() {
        let policy = QueuePolicy::default();
        let intervals = [0, 1, 5, 10, 62, 63, 500, 501, 60_000];
        let places = intervals.map(|interval| places(&policy, interval * MS));
        assert_eq!(places, [100_000_000, 100, 20, 16, 16, 15, 2, 1, 1]);
    }
}
