//! What a thread counted.

use std::time::Duration;

use serde::Serialize;

use crate::failure::{Failure, Failures};
use crate::latency::Recorder;
use crate::plan::Plan;

/// Counts of one thread, or of all.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) phases: Vec<Calls>,
    pub(crate) methods: Vec<Calls>,
    pub(crate) failures: ByStage,
    pub(crate) sessions: Sessions,
    pub(crate) streams: Streams,
    /// Latencies since the last look.
    pub(crate) recent: Recorder,
    pub(crate) opening: Recorder,
    correction: Option<Duration>,
}

/// Calls of one phase, or of one method.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) latency: Recorder,
    pub(crate) corrected: Option<Recorder>,
}

/// Failures by what was being done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ByStage {
    /// While a session was opened: the connection, `initialize`, `notifications/initialized`.
    pub open: Failures,
    /// In calls.
    pub call: Failures,
    /// In idle GET streams: not opened, or broken before the run was over.
    pub stream: Failures,
    /// While a session was ended by DELETE.
    pub close: Failures,
}

impl ByStage {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.named().into_iter().map(|(_, failures)| failures.total()).sum()
    }

    /// Each stage with its name.
    pub fn named(&self) -> [(&'static str, &Failures); 4] {
        [("open", &self.open), ("call", &self.call), ("stream", &self.stream), ("close", &self.close)]
    }
}

/// What became of sessions, idle ones included.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Sessions {
    /// Opened; a stateless one by its first call.
    pub opened: u64,
    /// Open now.
    pub open: u64,
    /// The most that were open at a time, added up over the threads.
    pub open_peak: u64,
    /// Ended by a DELETE that the server took, or by none where there is no session id.
    pub ended: u64,
    /// Ended by a DELETE that the server answered with 405.
    pub end_refused: u64,
    /// Gone by the server's word: 404. Each was followed by a new one.
    pub lost: u64,
    /// Connections that had to be opened anew.
    pub reconnects: u64,
}

/// What became of idle GET streams.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Streams {
    /// Opened.
    pub opened: u64,
    /// Open now.
    pub open: u64,
    /// The most that were open at a time, added up over the threads.
    pub open_peak: u64,
    /// Ended by the server or by a fault before the run was over.
    pub broken: u64,
}

impl Tally {
    pub(crate) fn new(plan: &Plan) -> Self {
        let correction = plan.correction();
        Self {
            phases: plan
                .schedule
                .phases()
                .map(|phase| Calls::new(correction.filter(|_| phase.rate.is_none())))
                .collect(),
            methods: plan.spec.mix.entries().map(|_| Calls::new(None)).collect(),
            failures: ByStage::default(),
            sessions: Sessions::default(),
            streams: Streams::default(),
            recent: Recorder::new(),
            opening: Recorder::new(),
            correction,
        }
    }

    /// Counts a call that ended.
    pub(crate) fn call(&mut self, phase: usize, method: usize, ended: Result<Duration, Failure>) {
        if let Ok(latency) = ended {
            self.recent.record(latency);
        }
        if let Err(failure) = ended {
            self.failures.call.count(failure);
        }
        for calls in self.phases.get_mut(phase).into_iter().chain(self.methods.get_mut(method)) {
            calls.count(ended, self.correction);
        }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.methods.iter().map(|calls| calls.answered + calls.failed).sum()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let pairs = self.phases.iter_mut().zip(&other.phases).chain(self.methods.iter_mut().zip(&other.methods));
        pairs.for_each(|(into, from)| into.merge(from));
        self.recent.merge(&other.recent);
        self.opening.merge(&other.opening);
        let (into, from) = (&mut self.failures, &other.failures);
        into.open.merge(&from.open);
        into.call.merge(&from.call);
        into.stream.merge(&from.stream);
        into.close.merge(&from.close);
        let (into, from) = (&mut self.sessions, &other.sessions);
        into.opened += from.opened;
        into.open += from.open;
        into.open_peak += from.open_peak;
        into.ended += from.ended;
        into.end_refused += from.end_refused;
        into.lost += from.lost;
        into.reconnects += from.reconnects;
        let (into, from) = (&mut self.streams, &other.streams);
        into.opened += from.opened;
        into.open += from.open;
        into.open_peak += from.open_peak;
        into.broken += from.broken;
    }
}

impl Sessions {
    pub(crate) fn count_opened(&mut self) {
        self.opened += 1;
        self.open += 1;
        self.open_peak = self.open_peak.max(self.open);
    }
}

impl Streams {
    pub(crate) fn count_opened(&mut self) {
        self.opened += 1;
        self.open += 1;
        self.open_peak = self.open_peak.max(self.open);
    }
}

impl Calls {
    pub(crate) fn new(correction: Option<Duration>) -> Self {
        Self { answered: 0, failed: 0, latency: Recorder::new(), corrected: correction.map(|_| Recorder::new()) }
    }

    fn count(&mut self, ended: Result<Duration, Failure>, correction: Option<Duration>) {
        let Ok(latency) = ended else {
            self.failed += 1;
            return;
        };
        self.answered += 1;
        self.latency.record(latency);
        if let (Some(corrected), Some(interval)) = (&mut self.corrected, correction) {
            corrected.record_corrected(latency, interval);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.answered += other.answered;
        self.failed += other.failed;
        self.latency.merge(&other.latency);
        if let Some(from) = &other.corrected {
            self.corrected.get_or_insert_with(Recorder::new).merge(from);
        }
    }
}
