//! What came of a run. Serialized, it is the JSON of `--json`; names are stable and end in their unit.

use serde::Serialize;
use std::time::Duration;

use crate::latency::Latency;
use crate::observer::Observer;
use crate::tally::{ByStage, Calls, Sessions, Streams, Tally};

/// The version of the JSON's shape: it grows when a name changes its meaning or goes.
pub const REPORT_VERSION: u32 = 1;

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub report_version: u32,
    /// Where to.
    pub url: String,
    /// MCP's revision as it was asked for.
    pub revision: String,
    /// `1.1` or `2`.
    pub http: &'static str,
    /// Threads of the generator.
    pub threads: usize,
    /// The whole run.
    pub total: Part,
    /// Each phase. A call belongs to the phase in which it was due or sent.
    pub phases: Vec<Part>,
    /// Each method of the mix, over the run.
    pub methods: Vec<MethodPart>,
    /// What became of sessions.
    pub sessions: Sessions,
    /// How long it took to open a session, from the connection to the answer to `notifications/initialized`.
    pub open_latency_us: Latency,
    /// What became of idle GET streams.
    pub streams: Streams,
    /// Failures by stage and kind.
    pub failures: ByStage,
    /// Why the first connection that failed did.
    pub first_connect_error: Option<String>,
    /// The processes that were watched, and last this one, `mcp-load`.
    pub processes: Vec<Process>,
}

/// Calls of a run or of a phase.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Part {
    /// Sessions that the plan wanted at the end of it; over the run, the most.
    pub sessions: u32,
    /// How long it was. Shorter than planned if all calls were made before, or the run was stopped.
    pub seconds: f64,
    /// The rate of an open loop.
    pub rate_per_second: Option<u32>,
    /// Calls that ended, whether well or not.
    pub calls: u64,
    /// Those of them that failed. Their latencies are in no figure.
    pub calls_failed: u64,
    /// Calls of an open loop that were due, but no session was free to send them before the run ended.
    pub calls_unsent: u64,
    /// Calls that ended well, per second.
    pub calls_per_second: f64,
    /// From when a call was due (open loop) or sent (closed loop) to its whole answer.
    pub latency_us: Latency,
    /// Of a closed loop, or the closed phases of a run, with an expected interval: with the latencies of calls that a slow answer kept from being sent.
    pub corrected_latency_us: Option<Latency>,
}

/// Calls of one method.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct MethodPart {
    /// Its name in JSON-RPC.
    pub method: String,
    /// Calls that ended, whether well or not.
    pub calls: u64,
    /// Those of them that failed.
    pub calls_failed: u64,
    /// As in [`Part::latency_us`].
    pub latency_us: Latency,
}

/// What a process, or those of a name, used during the run.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Process {
    /// As it was asked for.
    pub name: String,
    /// How many there were at the end.
    pub processes: usize,
    /// CPU time, user and system, by the system's hundredths of a second.
    pub cpu_seconds: f64,
    /// The same for each phase.
    pub phase_cpu_seconds: Vec<f64>,
    /// CPU time for each call that ended well.
    pub cpu_us_per_call: Option<f64>,
    /// Resident memory at the end, together.
    pub rss_bytes: u64,
    /// The most resident memory of all samples, one a second, together.
    pub rss_peak_bytes: u64,
}

impl Report {
    /// Whether there was at least one call, and no failure at any stage.
    pub fn is_clean(&self) -> bool {
        self.total.calls > 0 && self.failures.total() == 0
    }

    pub(crate) fn new(observer: &Observer<'_>, tally: &Tally) -> Self {
        let plan = &observer.run.plan;
        let total = total(observer, tally);
        let answered = total.calls - total.calls_failed;
        Self {
            report_version: REPORT_VERSION,
            url: plan.spec.url.clone(),
            revision: plan.spec.revision.clone(),
            http: if plan.spec.http2_connections.is_some() { "2" } else { "1.1" },
            threads: plan.spec.threads,
            phases: tally.phases.iter().enumerate().map(|(index, calls)| phase(observer, index, calls)).collect(),
            methods: methods(observer, tally),
            sessions: tally.sessions,
            open_latency_us: tally.opening.summary(),
            streams: tally.streams,
            failures: tally.failures.clone(),
            first_connect_error: observer.run.dialer.first_error(),
            processes: processes(observer, answered),
            total,
        }
    }
}

impl Part {
    fn new(calls: &Calls, seconds: f64) -> Self {
        let latency_us = calls.latency.summary();
        Self {
            sessions: 0,
            seconds,
            rate_per_second: None,
            calls: calls.answered + calls.failed,
            calls_failed: calls.failed,
            calls_unsent: 0,
            calls_per_second: per(calls.answered, seconds),
            latency_us,
            corrected_latency_us: calls.corrected.as_ref().map(|corrected| corrected.summary()),
        }
    }
}

fn total(observer: &Observer<'_>, tally: &Tally) -> Part {
    let mut all = Calls::new(None);
    tally.phases.iter().for_each(|calls| all.merge(calls));
    let (schedule, pacer) = (&observer.run.plan.schedule, &observer.run.pacer);
    let mut part = Part::new(&all, observer.end.as_secs_f64());
    part.sessions = schedule.phases().map(|phase| phase.sessions).max().unwrap_or(0);
    part.calls_unsent = (0..schedule.phases().len()).map(|index| pacer.unsent(schedule, index, observer.end)).sum();
    part
}

fn phase(observer: &Observer<'_>, index: usize, calls: &Calls) -> Part {
    let schedule = &observer.run.plan.schedule;
    let bounds = schedule.bounds(index);
    let mut part = Part::new(calls, bounds.end.min(observer.end).saturating_sub(bounds.start).as_secs_f64());
    if let Some(phase) = schedule.phases().nth(index) {
        (part.sessions, part.rate_per_second) = (phase.sessions, phase.rate);
    }
    part.calls_unsent = observer.run.pacer.unsent(schedule, index, observer.end);
    part
}

fn methods(observer: &Observer<'_>, tally: &Tally) -> Vec<MethodPart> {
    let named = observer.run.plan.spec.mix.entries().zip(&tally.methods);
    let part = |(method, calls): (&crate::Method, &Calls)| MethodPart {
        method: method.name().into(),
        calls: calls.answered + calls.failed,
        calls_failed: calls.failed,
        latency_us: calls.latency.summary(),
    };
    named.map(part).collect()
}

fn processes(observer: &Observer<'_>, answered: u64) -> Vec<Process> {
    let watched = observer.sampler.watched().iter().enumerate();
    let process = |(index, watched): (usize, &crate::sampler::Watched)| {
        let marks: Vec<Duration> = observer.marks.iter().filter_map(|mark| mark.get(index).copied()).collect();
        let cpu_seconds = watched.cpu().as_secs_f64();
        Process {
            name: watched.name().into(),
            processes: watched.processes,
            cpu_seconds,
            phase_cpu_seconds: marks.iter().zip(marks.iter().skip(1)).map(|(a, b)| (*b - *a).as_secs_f64()).collect(),
            cpu_us_per_call: (answered > 0).then(|| cpu_seconds * 1e6 / count(answered)),
            rss_bytes: watched.rss_bytes,
            rss_peak_bytes: watched.rss_peak_bytes,
        }
    };
    watched.map(process).collect()
}

fn per(number: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count(number) / seconds } else { 0.0 }
}

/// Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "nobody makes so many calls")]
fn count(number: u64) -> f64 {
    number as f64
}
