//! The calls of open loops: whoever is free takes the next one on the schedule.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::schedule::Schedule;

/// Hands out the calls of all phases, once each.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// The next call of each phase.
    next: Vec<AtomicU64>,
}

/// What a session does next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Turn {
    /// A call of this phase that is, or was, due at this time.
    Due { phase: usize, at: Duration },
    /// A call of this phase of a closed loop, now.
    Now { phase: usize },
    /// Nothing until then.
    Rest { until: Duration },
}

impl Pacer {
    pub(crate) fn new(schedule: &Schedule) -> Self {
        Self { next: schedule.phases().map(|_| AtomicU64::new(0)).collect() }
    }

    /// The turn, at `time`, of a session that ends at `end`.
    pub(crate) fn turn(&self, schedule: &Schedule, time: Duration, end: Duration) -> Turn {
        let Some((phase, phase_end, rate)) = schedule.at(time) else { return Turn::Rest { until: end } };
        if rate.is_none() {
            return Turn::Now { phase };
        }
        let end = end.min(phase_end);
        self.claim(schedule, phase, end).map_or(Turn::Rest { until: end }, |at| Turn::Due { phase, at })
    }

    /// The next call of `phase` that is due before `end`.
    fn claim(&self, schedule: &Schedule, phase: usize, end: Duration) -> Option<Duration> {
        let next = self.next.get(phase)?;
        let due = |number| schedule.due(phase, number).filter(|due| *due < end);
        let number = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| due(number).map(|_| number + 1));
        due(number.ok()?)
    }

    /// Calls of `phase` that were due before `end` and that no session was free to make.
    pub(crate) fn unsent(&self, schedule: &Schedule, phase: usize, end: Duration) -> u64 {
        let sent = self.next.get(phase).map_or(0, |next| next.load(Ordering::Relaxed));
        schedule.due_count(phase, end).saturating_sub(sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Recorder;
    use crate::schedule::Phase;

    const MS: Duration = Duration::from_millis(1);

    fn open_loop(seconds: u64, rate: u32) -> Schedule {
        Schedule::new(&[Phase { sessions: 1, length: Duration::from_secs(seconds), rate: Some(rate) }], false)
    }

    /// One session, in virtual time, against a server that takes a millisecond, but stalls for a second at 1 s.
    fn latencies(schedule: &Schedule) -> (Recorder, u64) {
        let pacer = Pacer::new(schedule);
        let mut recorder = Recorder::new();
        let mut time = Duration::ZERO;
        while let Turn::Due { at, .. } = pacer.turn(schedule, time, schedule.end()) {
            let sent = time.max(at);
            let is_stalled = (1_000..2_000).contains(&sent.as_millis());
            time = if is_stalled { Duration::from_secs(2) } else { sent + MS };
            recorder.record(time - at);
        }
        (recorder, pacer.unsent(schedule, 0, schedule.end()))
    }

    #[test]
    fn a_stall_counts_for_each_call_that_was_due_in_it() {
        let (recorder, unsent) = latencies(&open_loop(4, 100));
        let found = recorder.summary();
        // 400 calls were due. The 100 of the second of the stall waited half a second on average, then those behind them
        // until the backlog was worked off at 1,000 calls a second.
        assert_eq!((found.count, unsent), (400, 0));
        assert!(found.max >= 999_000 && found.p90 > 600_000, "{found:?}");
        assert!((120_000.0..160_000.0).contains(&found.mean), "{found:?}");
    }

    #[test]
    fn what_nobody_was_free_for_is_counted_as_unsent() {
        let (recorder, unsent) = latencies(&open_loop(4, 2_000));
        assert!(unsent > 3_000, "{unsent}");
        assert_eq!(recorder.summary().count + unsent, 8_000);
    }

    #[test]
    fn a_call_is_handed_out_once_and_only_to_who_lives_until_it_is_due() {
        let schedule = open_loop(1, 10);
        let pacer = Pacer::new(&schedule);
        let turn = |end: u32| pacer.turn(&schedule, Duration::ZERO, MS * end);
        assert_eq!(turn(1_000), Turn::Due { phase: 0, at: Duration::ZERO });
        assert_eq!(turn(100), Turn::Rest { until: MS * 100 });
        assert_eq!(turn(101), Turn::Due { phase: 0, at: MS * 100 });
    }
}
