//! Whether the queue is a burst, which drains, or stands.

use std::time::{Duration, Instant};

use super::policy::QueuePolicy;

/// Tells a burst, which drains, from a standing queue, which only makes every call late.
///
/// A queue that has not been empty for [`QueuePolicy::max_wait`] stands, until it has been empty for
/// [`QueuePolicy::target_delay`]: one that is kept short is empty now and then in the middle of an overload. While it stands,
/// no more wait than are served within the target ([`places`]), and the rest is refused at once. This is the controlled delay
/// of Maurer, "Fail at Scale" (ACM Queue 13(8), 2015), after CoDel (Nichols and Jacobson, RFC 8289), with a bound on who comes
/// in rather than on how long they stay: who is not going to be served is told so when it comes.
/// CoDel itself looks at the shortest wait of an interval; that says nothing about a queue with priorities and turns, where
/// somebody is always served at once, so emptiness stands in for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum StandingQueue {
    #[default]
    Empty,
    Filled {
        at: Instant,
    },
    Stands {
        empty_since: Option<Instant>,
    },
}

impl StandingQueue {
    /// Notes whether anybody waits for the node at `now`.
    pub(super) fn note(&mut self, empty: bool, policy: &QueuePolicy, now: Instant) {
        *self = match (*self, self.stands(policy, now), empty) {
            (Self::Stands { empty_since }, true, true) => {
                Self::Stands { empty_since: Some(empty_since.unwrap_or(now)) }
            }
            (_, true, true) => Self::Stands { empty_since: Some(now) },
            (_, true, false) => Self::Stands { empty_since: None },
            (_, false, true) => Self::Empty,
            (Self::Filled { at }, false, false) => Self::Filled { at },
            (Self::Empty | Self::Stands { .. }, false, false) => Self::Filled { at: now },
        };
    }

    /// Whether it stands at `now`.
    pub(super) fn stands(&self, policy: &QueuePolicy, now: Instant) -> bool {
        match *self {
            Self::Empty => false,
            Self::Filled { at } => now.saturating_duration_since(at) >= policy.max_wait(),
            Self::Stands { empty_since } => {
                empty_since.is_none_or(|since| now.saturating_duration_since(since) < policy.target_delay())
            }
        }
    }
}

/// So many places a standing queue has, however slow the node is, if they are served within half of `max_wait`: clients can
/// only take turns where there are a few.
const TURNS: u128 = 16;

/// How many wait while the queue stands, where a place comes free each `interval`: as many as are served within
/// `target_delay`, and one at least.
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

    #[test]
    fn a_standing_queue_is_over_once_it_has_been_empty_for_the_target() {
        let (policy, start) = (QueuePolicy::default(), start());
        let (stood, target) = (start + policy.max_wait(), policy.target_delay());
        let mut queue = StandingQueue::default();
        queue.note(false, &policy, start);
        queue.note(true, &policy, stood);
        queue.note(true, &policy, stood + target / 2);
        queue.note(false, &policy, stood + target - NANOSECOND);
        assert!(queue.stands(&policy, stood + target), "it filled again in time");
        let emptied = stood + target;
        queue.note(true, &policy, emptied);
        queue.note(true, &policy, emptied + target / 2);
        assert!(queue.stands(&policy, emptied + target - NANOSECOND));
        assert!(!queue.stands(&policy, emptied + target));
        queue.note(false, &policy, emptied + target);
        assert!(!queue.stands(&policy, emptied + target + policy.max_wait() - NANOSECOND), "it begins anew");
    }

    #[test]
    fn as_many_may_wait_as_are_served_within_the_target_and_a_few_to_take_turns_among() {
        let policy = QueuePolicy::default();
        let intervals = [0, 1, 5, 10, 62, 63, 500, 501, 60_000];
        let places = intervals.map(|interval| places(&policy, interval * MS));
        assert_eq!(places, [100_000_000, 100, 20, 16, 16, 15, 2, 1, 1]);
    }
}
