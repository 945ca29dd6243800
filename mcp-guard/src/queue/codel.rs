//! How long a newcomer may wait: less while the queue stands.

use std::time::{Duration, Instant};

use super::policy::QueuePolicy;

/// Tells a burst, which drains, from a standing queue, which only makes every call late.
///
/// A queue that has not been empty for [`QueuePolicy::max_wait`] stands, and who comes then may wait only
/// [`QueuePolicy::target_delay`]. This is the controlled delay of Maurer, "Fail at Scale" (ACM Queue 13(8), 2015), after
/// CoDel (Nichols and Jacobson, RFC 8289). CoDel itself looks at the shortest wait of an interval; that says nothing
/// about a queue with priorities and turns, where somebody is always served at once, so emptiness stands in for it.
/// Who waits already keeps the deadline that it was given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StandingQueue {
    filled_at: Option<Instant>,
}

impl StandingQueue {
    /// Notes whether anybody waits for the node at `now`.
    pub(super) fn note(&mut self, empty: bool, now: Instant) {
        self.filled_at = if empty { None } else { self.filled_at.or(Some(now)) };
    }

    /// How long one who comes at `now` may wait.
    pub(super) fn wait_allowed(&self, policy: &QueuePolicy, now: Instant) -> Duration {
        match self.filled_at {
            Some(filled_at) if now.saturating_duration_since(filled_at) >= policy.max_wait() => policy.target_delay(),
            Some(_) | None => policy.max_wait(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::start;

    #[test]
    fn a_wait_shrinks_once_the_queue_has_not_been_empty_for_as_long_as_one_may_wait() {
        let (policy, start) = (QueuePolicy::default(), start());
        let (long, short) = (policy.max_wait(), policy.target_delay());
        let mut queue = StandingQueue::default();
        queue.note(false, start);
        queue.note(false, start + long / 2);
        assert_eq!(queue.wait_allowed(&policy, start + long - Duration::from_nanos(1)), long);
        assert_eq!(queue.wait_allowed(&policy, start + long), short);
        queue.note(true, start + long);
        assert_eq!(queue.wait_allowed(&policy, start + long), long);
        queue.note(false, start + long);
        assert_eq!(queue.wait_allowed(&policy, start + long * 2 - Duration::from_nanos(1)), long);
    }
}
