//! Looks at a run from outside: progress, samples, and at its end the report.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::latency::Recorder;
use crate::plan::Watch;
use crate::progress::Progress;
use crate::report::Report;
use crate::sampler::Sampler;
use crate::site::Run;
use crate::tally::Tally;

const SECOND: Duration = Duration::from_secs(1);

/// The name of this process among those that are watched.
const OWN: &str = "mcp-load";

/// Who looks.
pub(crate) struct Observer<'a> {
    pub(crate) run: &'a Run,
    tallies: &'a [Arc<Mutex<Tally>>],
    pub(crate) sampler: Sampler,
    /// CPU time of each watched process at the beginning of the run and at the end of each phase so far.
    pub(crate) marks: Vec<Vec<Duration>>,
    /// When the run was over: at the schedule's end, or before if all calls were made.
    pub(crate) end: Duration,
    next_second: Duration,
    last: (Duration, u64),
}

impl<'a> Observer<'a> {
    pub(crate) fn new(run: &'a Run, tallies: &'a [Arc<Mutex<Tally>>]) -> Self {
        let own = Watch { name: OWN.into(), pid: Some(std::process::id()) };
        let sampler = Sampler::new(run.plan.spec.watch.iter().cloned().chain([own]));
        let marks = vec![sampler.watched().iter().map(|_| Duration::ZERO).collect()];
        let last = (Duration::ZERO, 0);
        Self { run, tallies, sampler, marks, end: Duration::ZERO, next_second: SECOND, last }
    }

    /// How long until there is something to look at.
    pub(crate) fn next_look(&self) -> Duration {
        let next = self.next_phase_end().map_or(self.next_second, |end| end.min(self.next_second));
        // At its start the run is a moment away.
        (self.run.start + next).saturating_duration_since(crate::clock::now())
    }

    /// Looks, and says what there was to see if a second has passed.
    pub(crate) fn look(&mut self) -> Option<Progress> {
        let time = self.run.time();
        self.sampler.sample();
        while self.next_phase_end().is_some_and(|end| end <= time) {
            self.mark();
        }
        if time < self.next_second {
            return None;
        }
        self.next_second = SECOND * u32::try_from(time.as_secs() + 1).unwrap_or(u32::MAX);
        Some(self.progress(time))
    }

    /// What came of it. The run has to be over.
    pub(crate) fn report(mut self) -> Report {
        self.end = self.run.time().min(self.run.plan.schedule.end());
        self.sampler.sample();
        while self.next_phase_end().is_some() {
            self.mark();
        }
        let mut sum = Tally::new(&self.run.plan);
        for tally in self.tallies {
            sum.merge(&tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
        Report::new(&self, &sum)
    }

    fn next_phase_end(&self) -> Option<Duration> {
        let phase = self.marks.len() - 1;
        (phase < self.run.plan.schedule.phases().len()).then(|| self.run.plan.schedule.bounds(phase).end)
    }

    fn mark(&mut self) {
        self.marks.push(self.sampler.watched().iter().map(|watched| watched.cpu()).collect());
    }

    fn progress(&mut self, time: Duration) -> Progress {
        let mut recent = Recorder::new();
        let mut seen = Progress {
            time,
            phase: self.run.plan.schedule.at(time).map_or(self.run.plan.schedule.phases().len(), |(phase, ..)| phase),
            sessions_open: 0,
            streams_open: 0,
            calls: 0,
            failures: 0,
            calls_per_second: 0.0,
            p50_us: 0,
            p99_us: 0,
        };
        for tally in self.tallies {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            recent.merge(&tally.recent);
            tally.recent.clear();
            seen.sessions_open += tally.sessions.open;
            seen.streams_open += tally.streams.open;
            seen.calls += tally.calls();
            seen.failures += tally.failures.total();
        }
        let (before, calls_before) = std::mem::replace(&mut self.last, (time, seen.calls));
        let calls = u32::try_from(seen.calls - calls_before).unwrap_or(u32::MAX);
        seen.calls_per_second = f64::from(calls) / (time - before).as_secs_f64();
        let recent = recent.summary();
        (seen.p50_us, seen.p99_us) = (recent.p50, recent.p99);
        seen
    }
}
