//! Which session lives when, and when each call of an open loop is due. Times count from the start of the run.

use std::ops::Range;
use std::time::Duration;

/// A part of a run: so many sessions, for so long, at this rate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Phase {
    /// Sessions that call. They join or leave when the phase begins, or spread over it if the plan ramps.
    pub sessions: u32,
    /// How long; at least a millisecond, at most [`PHASE_MAX`].
    pub length: Duration,
    /// Calls a second over all sessions, on a fixed schedule: an open loop. `None` is a closed loop, 0 calls nothing.
    pub rate: Option<u32>,
}

/// The longest phase: a week.
pub const PHASE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The phases of a run, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    phases: Vec<Placed>,
    ramp: bool,
}

#[derive(Clone, Debug)]
struct Placed {
    from: Duration,
    phase: Phase,
}

/// A session's time, and when it begins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) session: u32,
    pub(crate) time: Range<Duration>,
}

impl Schedule {
    pub(crate) fn new(phases: &[Phase], ramp: bool) -> Self {
        let mut from = Duration::ZERO;
        let place = |phase: &Phase| {
            let placed = Placed { from, phase: *phase };
            from += phase.length;
            placed
        };
        Self { phases: phases.iter().map(place).collect(), ramp }
    }

    pub(crate) fn phases(&self) -> impl ExactSizeIterator<Item = Phase> + '_ {
        self.phases.iter().map(|placed| placed.phase)
    }

    /// When the last phase ends.
    pub(crate) fn end(&self) -> Duration {
        self.phases.last().map_or(Duration::ZERO, Placed::end)
    }

    /// The phase at `time`, its end and its rate; `None` after the last.
    pub(crate) fn at(&self, time: Duration) -> Option<(usize, Duration, Option<u32>)> {
        let index = self.phases.partition_point(|placed| placed.end() <= time);
        self.phases.get(index).map(|placed| (index, placed.end(), placed.phase.rate))
    }

    /// When phase `index` begins and ends.
    pub(crate) fn bounds(&self, index: usize) -> Range<Duration> {
        self.phases.get(index).map_or(Duration::ZERO..Duration::ZERO, |placed| placed.from..placed.end())
    }

    /// When the open-loop call `number` of phase `index` is due; `None` if the phase has no such call.
    pub(crate) fn due(&self, index: usize, number: u64) -> Option<Duration> {
        let placed = self.phases.get(index)?;
        let rate = u128::from(placed.phase.rate.filter(|rate| 0 < *rate)?);
        let nanos = u64::try_from(u128::from(number) * 1_000_000_000 / rate).ok()?;
        let after = Duration::from_nanos(nanos);
        (after < placed.phase.length).then(|| placed.from + after)
    }

    /// How many calls are due in phase `index` before `end`; 0 for a closed loop.
    pub(crate) fn due_count(&self, index: usize, end: Duration) -> u64 {
        let Some(placed) = self.phases.get(index) else { return 0 };
        let length = placed.end().min(end).saturating_sub(placed.from);
        let nanos = length.as_nanos() * u128::from(placed.phase.rate.unwrap_or(0));
        u64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(u64::MAX)
    }

    /// The lives of sessions that `thread` of `threads` has, by their beginning.
    pub(crate) fn spans(&self, thread: usize, threads: usize) -> Vec<Span> {
        let most = self.phases.iter().map(|placed| placed.phase.sessions).max().unwrap_or(0);
        let own = (0..most).skip(thread).step_by(threads.max(1));
        let mut spans: Vec<_> =
            own.flat_map(|session| self.lives(session).into_iter().map(move |time| Span { session, time })).collect();
        spans.sort_by_key(|span| span.time.start);
        spans
    }

    /// When session `number` lives. What touches is one life.
    fn lives(&self, number: u32) -> Vec<Range<Duration>> {
        let mut lives: Vec<Range<Duration>> = Vec::new();
        let mut before = 0;
        for placed in &self.phases {
            let next = placed.life(number, if self.ramp { before } else { placed.phase.sessions });
            before = placed.phase.sessions;
            match (next, lives.last_mut()) {
                (Some(next), Some(last)) if last.end == next.start => last.end = next.end,
                (Some(next), _) => lives.push(next),
                (None, _) => {}
            }
        }
        lives
    }
}

impl Placed {
    fn end(&self) -> Duration {
        self.from + self.phase.length
    }

    /// The part of the phase in which session `number` lives, if there were `before` sessions at its beginning.
    fn life(&self, number: u32, before: u32) -> Option<Range<Duration>> {
        let after = self.phase.sessions;
        let share = |done: u32, all: u32| self.phase.length.mul_f64(f64::from(done) / f64::from(all));
        let life = match (number < before, number < after) {
            (true, true) => self.from..self.end(),
            (false, true) => self.from + share(number - before, after - before)..self.end(),
            (true, false) => self.from..self.from + share(before - 1 - number, before - after),
            (false, false) => return None,
        };
        (!life.is_empty()).then_some(life)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn phase(sessions: u32, seconds: u64, rate: Option<u32>) -> Phase {
        Phase { sessions, length: Duration::from_secs(seconds), rate }
    }

    fn seconds(lives: &[Range<Duration>]) -> Vec<(u64, u64)> {
        lives.iter().map(|life| (life.start.as_secs(), life.end.as_secs())).collect()
    }

    #[test]
    fn a_spike_lives_in_its_phase_alone() {
        let schedule = Schedule::new(&[phase(0, 1, None), phase(3, 5, None), phase(0, 2, None)], false);
        assert_eq!(seconds(&schedule.lives(2)), [(1, 6)]);
        assert_eq!(seconds(&schedule.lives(3)), []);
        assert_eq!(schedule.end(), Duration::from_secs(8));
    }

    #[test]
    fn a_session_that_stays_over_two_phases_has_one_life() {
        let schedule = Schedule::new(&[phase(4, 1, None), phase(2, 1, None), phase(4, 1, None)], false);
        assert_eq!(seconds(&schedule.lives(1)), [(0, 3)]);
        assert_eq!(seconds(&schedule.lives(3)), [(0, 1), (2, 3)]);
    }

    #[test]
    fn a_ramp_adds_and_removes_sessions_linearly() {
        let schedule = Schedule::new(&[phase(4, 4, None), phase(0, 4, None)], true);
        let lives: Vec<_> = (0..4).map(|number| seconds(&schedule.lives(number))).collect();
        assert_eq!(lives, [[(0, 7)], [(1, 6)], [(2, 5)], [(3, 4)]]);
    }

    #[test]
    fn threads_share_all_sessions() {
        let schedule = Schedule::new(&[phase(5, 1, None)], false);
        let of = |thread| schedule.spans(thread, 2).iter().map(|span| span.session).collect::<Vec<_>>();
        assert_eq!((of(0), of(1)), (vec![0, 2, 4], vec![1, 3]));
    }

    #[test]
    fn an_open_loop_is_due_at_even_distances_until_its_phase_ends() {
        let schedule = Schedule::new(&[phase(1, 1, None), phase(1, 1, Some(4))], false);
        let due: Vec<_> = (0..5).map(|number| schedule.due(1, number).map(|due| due.as_millis())).collect();
        assert_eq!(due, [Some(1000), Some(1250), Some(1500), Some(1750), None]);
        assert_eq!((schedule.due_count(0, schedule.end()), schedule.due_count(1, schedule.end())), (0, 4));
        // A run that was stopped had less that was due.
        assert_eq!(schedule.due_count(1, Duration::from_millis(1_300)), 2);
    }

    #[test]
    fn a_rate_of_nothing_is_never_due() {
        let schedule = Schedule::new(&[phase(1, 1, Some(0))], false);
        assert_eq!((schedule.due(0, 0), schedule.due_count(0, schedule.end())), (None, 0));
    }
}
