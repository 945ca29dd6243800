//! What is let in while memory is short.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::class::Priority;
use crate::call::{Call, Kind, Method};
use crate::refusal::{Reason, Refusal};

/// How short memory is.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
#[expect(clippy::exhaustive_enums, reason = "there are three marks")]
pub enum Mark {
    /// Not at all.
    #[default]
    None = 0,
    /// Calls of tools that would have to wait, or that are large, are refused.
    First = 1,
    /// And reads that would have to wait, new sessions, and new streams.
    Second = 2,
    /// Everything is.
    Third = 3,
}

/// Where the marks are, in thousandths of the limit.
const MARKS: [(Mark, u64); 3] = [(Mark::Third, 1000), (Mark::Second, 900), (Mark::First, 800)];

/// So far below its beginning a mark ends, so that it does not come and go with each look.
const RELEASE: u64 = 50;

/// In which part of the time, in percent, all that runs must have waited for memory. That alone is never the last mark.
const STALLED: [(Mark, f64); 2] = [(Mark::Second, 30.0), (Mark::First, 10.0)];

impl Mark {
    /// The mark after this one, where so many thousandths of the limit are `used` and all that runs has `stalled` for so
    /// many percent of the time.
    #[must_use]
    pub fn next(self, used: u64, stalled: f64) -> Self {
        let is_used = |(mark, at): &(Self, u64)| used > if self >= *mark { at - RELEASE } else { *at };
        let by_use = MARKS.into_iter().find(is_used).map_or(Self::None, |(mark, _)| mark);
        let by_stalls = STALLED.into_iter().find(|(_, at)| stalled >= *at).map_or(Self::None, |(mark, _)| mark);
        by_use.max(by_stalls)
    }
}

/// The mark that is reached, told by whoever knows. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Pressure(Arc<AtomicU8>);

/// How long memory takes to come back.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Larger messages are refused first.
const LARGE_BYTES: usize = 64 << 10;

impl Pressure {
    /// From now on `mark` counts.
    pub fn set(&self, mark: Mark) {
        self.0.store(mark as u8, Ordering::Relaxed);
    }

    /// The mark that counts.
    pub fn get(&self) -> Mark {
        match self.0.load(Ordering::Relaxed) {
            0 => Mark::None,
            1 => Mark::First,
            2 => Mark::Second,
            _ => Mark::Third,
        }
    }

    /// Whether `call`, whose message has so many `bytes`, is refused before it asks for a place.
    pub fn refuses(&self, call: &Call, bytes: usize) -> bool {
        let mark = self.get();
        // Nearly always, and then nothing else is looked at.
        if mark == Mark::None {
            return false;
        }
        let is_large = bytes > LARGE_BYTES && Priority::of(call) == Priority::Work;
        let begins = call.kind == Kind::Listen
            || call.method.is(Method::INITIALIZE)
            || call.method.is(Method::SUBSCRIPTIONS_LISTEN);
        mark == Mark::Third && call.kind != Kind::End || is_large || mark >= Mark::Second && begins
    }

    /// What is said to those who are refused: when to come back, since memory comes back slowly.
    pub fn refusal() -> Refusal {
        Refusal::new(Reason::MemoryPressure, "what runs has to end first").retry_after(RETRY_AFTER)
    }

    /// Whether `call`, for which there is no place now, is refused rather than kept waiting.
    pub fn lets_nobody_wait(&self, call: &Call) -> bool {
        match self.get() {
            Mark::None => false,
            Mark::First => Priority::of(call) == Priority::Work,
            Mark::Second | Mark::Third => Priority::of(call) != Priority::Control,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::Revision;

    fn call(method: &str) -> Call {
        Call::new(Kind::Request, Method::new(method), Revision::V2025_11_25)
    }

    #[test]
    fn marks_begin_where_they_are_and_end_well_below() {
        let mut mark = Mark::None;
        let steps = [
            (800, Mark::None),
            (801, Mark::First),
            (760, Mark::First),
            (901, Mark::Second),
            (1000, Mark::Second),
            (1001, Mark::Third),
            (951, Mark::Third),
            (950, Mark::Second),
            (850, Mark::First),
            (751, Mark::First),
            (750, Mark::None),
            (5000, Mark::Third),
            (0, Mark::None),
        ];
        for (used, next) in steps {
            mark = mark.next(used, 0.0);
            assert_eq!(mark, next, "{used}");
        }
    }

    #[test]
    fn what_stands_still_for_want_of_memory_is_a_mark_too_but_never_the_last() {
        for (stalled, mark) in [(9.9, Mark::None), (10.0, Mark::First), (30.0, Mark::Second), (100.0, Mark::Second)] {
            assert_eq!(Mark::None.next(0, stalled), mark, "{stalled}");
        }
        assert_eq!(Mark::None.next(1001, 10.0), Mark::Third);
    }

    /// Which marks refuse what, before it asks for a place, and when there is none.
    #[test]
    fn what_is_refused_at_each_mark() {
        let listen = Call::new(Kind::Listen, Method::NONE, Revision::V2025_11_25);
        let end = Call::new(Kind::End, Method::NONE, Revision::V2025_11_25);
        let table = [
            (call(Method::TOOLS_CALL), 100, [false, false, false, true], [false, true, true, true]),
            (call(Method::TOOLS_CALL), 100_000, [false, true, true, true], [false, true, true, true]),
            (call(Method::TOOLS_CALL), LARGE_BYTES, [false, false, false, true], [false, true, true, true]),
            (call(Method::TOOLS_LIST), 100_000, [false, false, false, true], [false, false, true, true]),
            (call(Method::INITIALIZE), 100, [false, false, true, true], [false, false, false, false]),
            (call(Method::PING), 100, [false, false, false, true], [false, false, false, false]),
            (listen, 0, [false, false, true, true], [false, true, true, true]),
            (end, 0, [false, false, false, false], [false, true, true, true]),
        ];
        let pressure = Pressure::default();
        for (call, bytes, refused, not_kept) in table {
            let marks = [Mark::None, Mark::First, Mark::Second, Mark::Third];
            for (mark, (refused, not_kept)) in marks.into_iter().zip(refused.into_iter().zip(not_kept)) {
                pressure.set(mark);
                assert_eq!(pressure.get(), mark);
                assert_eq!(pressure.refuses(&call, bytes), refused, "{call:?} {bytes} {mark:?}");
                assert_eq!(pressure.lets_nobody_wait(&call), not_kept, "{call:?} {mark:?}");
            }
        }
    }
}
