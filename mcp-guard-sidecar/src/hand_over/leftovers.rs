//! Sessions of other processes, until their clients come.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use mcp_guard::session::SessionId;

/// Most sessions that are kept: what a predecessor leaves beyond is lost, and its clients initialize anew.
const LEFT_MAX: usize = 100_000;

/// Most ended sessions that are remembered: one beyond that was being given just then is here again, until it was silent for too
/// long.
const ENDED_MAX: usize = 100_000;

/// What other processes have left here.
pub(super) struct Leftovers<T> {
    left: HashMap<SessionId, Left<T>>,
    /// What was ended while another process might give it still.
    ended: HashSet<SessionId>,
}

/// A session that waits for its client.
pub(super) struct Left<T> {
    pub(super) what: T,
    /// How long.
    pub(super) until: Instant,
    /// Whether the successor has it too.
    pub(super) is_successors: bool,
}

impl<T> Left<T> {
    /// One that waits for `idle` from `now` on; `None` if there is no such time.
    pub(super) fn new(what: T, now: Instant, idle: Duration, is_successors: bool) -> Option<Self> {
        Some(Self { what, until: now.checked_add(idle)?, is_successors })
    }
}

impl<T> Default for Leftovers<T> {
    fn default() -> Self {
        Self { left: HashMap::new(), ended: HashSet::new() }
    }
}

impl<T> Leftovers<T> {
    /// Keeps a session, unless it has ended or there is no room.
    pub(super) fn keep(&mut self, id: SessionId, left: Left<T>) {
        if self.left.len() < LEFT_MAX && !self.ended.contains(&id) {
            self.left.insert(id, left);
        }
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Left<T>> {
        self.left.get(&id)
    }

    pub(super) fn take(&mut self, id: SessionId) -> Option<T> {
        self.left.remove(&id).map(|left| left.what)
    }

    /// The client has ended it: where it `may_come`, an answer that is on its way does not bring it back.
    pub(super) fn end(&mut self, id: SessionId, may_come: bool) {
        self.left.remove(&id);
        if may_come && self.ended.len() < ENDED_MAX {
            self.ended.insert(id);
        }
    }

    /// No other process is there that could give anything.
    pub(super) fn nothing_comes(&mut self) {
        self.ended = HashSet::new();
    }

    /// Drops those that have waited long enough.
    pub(super) fn expire(&mut self, now: Instant) {
        self.left.retain(|_, left| left.until > now);
    }

    /// All of them, which then are somebody else's.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Left<T>> + use<T> {
        std::mem::take(&mut self.left).into_values()
    }

    pub(super) fn len(&self) -> usize {
        self.left.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use mcp_guard::middleware::clock;

    use super::*;

    #[test]
    fn one_that_was_ended_does_not_come_back_as_long_as_it_may_be_given() {
        let (mut leftovers, id, until) = (Leftovers::default(), SessionId::from_bits(7), clock::now());
        let left = |what| Left { what, until, is_successors: false };
        leftovers.keep(id, left(1));
        leftovers.end(id, true);
        leftovers.keep(id, left(2));
        assert!(leftovers.is_empty());
        leftovers.nothing_comes();
        leftovers.keep(id, left(3));
        assert_eq!(leftovers.take(id), Some(3));
    }

    #[test]
    fn each_waits_as_long_as_it_may() {
        let (mut leftovers, now) = (Leftovers::default(), clock::now());
        for seconds in 1..=3 {
            let left = Left::new(seconds, now, Duration::from_secs(seconds), false).unwrap();
            leftovers.keep(SessionId::from_bits(seconds.into()), left);
        }
        leftovers.expire(now + Duration::from_secs(2));
        assert_eq!(leftovers.drain().map(|left| left.what).collect::<Vec<_>>(), [3]);
        assert_eq!(leftovers.len(), 0);
        assert!(Left::new((), now, Duration::from_secs(u64::MAX), false).is_none(), "another process may say anything");
    }
}
