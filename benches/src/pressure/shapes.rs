//! Load that is steady, rises, and comes out of nothing, and a node that gets slow, broken and dead in the middle of it.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;

use super::drive::{Attempt, Driven, Population, Retry, Sessions, drive};
use super::judge::{Ask, End};
use super::node::{BusyNode, Capacity, Mood};
use super::plan::Phase;
use super::sampler::Faults;
use super::sidecar::Sidecar;
use super::tables::{Summary, summarize};
use crate::Fault;

/// What came of all shapes.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Shapes {
    /// Phase by phase: those who call all the time, then those of the spike.
    pub phases: Vec<Summary>,
    /// How long after each fault's end it took until every call was answered again, in seconds; `None` if that did not come
    /// before the phase after it ended.
    pub recoveries: Vec<(String, Option<f64>)>,
    /// Answers that were not those that were asked for.
    pub wrong: u64,
    /// Whether all calls of the second half of the last phase were answered.
    pub is_well_at_the_end: bool,
}

impl Shapes {
    /// Whether no answer was wrong and the guard was well at the end.
    pub fn is_good(&self) -> bool {
        self.wrong == 0 && self.is_well_at_the_end
    }
}

/// The config that `shapes` and the soak have in common. The breaker tries again after a quarter of a second, and at most after
/// 2.5 s, ten times that: by default these are 30 s and five minutes, which is longer than a phase.
pub(crate) const GUARD: &str =
    "  limits: {connections: 20000, connections_per_client: 20000, sessions: 20000, session_idle: 1m}
  rate_limits: [{name: per-session, key: [client, session], rate: 100000/s, burst: 100000, keys_max: 500}]
  breaker: {open: 250ms}
";
/// Sessions are the guard's own, and go on when the node has forgotten them.
pub(crate) const UPSTREAM: &str = ", sessions: {failover: reinitialize}, health: {interval: 1s}";

/// Lanes of those who call all the time, and of the spike.
const LANES: usize = 256;
const SPIKE_LANES: usize = 512;

/// The faults, and what they are called.
const FAULTS: [(&str, Mood); 4] =
    [("slow", Mood::Slow(4)), ("failing", Mood::Failing), ("refusing", Mood::Refusing), ("dead", Mood::Dead)];

/// Drives all shapes against the guard at `program`. A phase takes `unit`, or a part of it; all take eleven.
///
/// # Errors
///
/// If guard or node do not start.
pub async fn shapes(program: &Path, capacity: Capacity, unit: Duration) -> Result<Shapes, Fault> {
    let node = BusyNode::start(capacity)?;
    let guard = Sidecar::start(program, node.address(), GUARD, UPSTREAM)?;
    let node = Arc::new(Mutex::new(node));
    let rate = capacity.per_second();
    let (phases, faults) = plan(unit, rate);
    let before: Duration = phases.iter().take(3).map(|phase| phase.length).sum();
    let spike = vec![
        Phase::steady("0", before + unit / 4, 0.0),
        Phase::steady("spike", unit / 2, rate * 5.0),
        Phase::steady("and 0", unit / 4, 0.0),
    ];
    let population = |name: &str, last: u8, lanes: usize, phases: Vec<Phase>, sessions| Population {
        name: name.into(),
        source: Ipv4Addr::new(127, 0, 0, last),
        lanes,
        phases,
        ask: Ask::Call,
        retry: Retry::Never,
        sessions,
    };
    let populations = vec![
        population("all the time", 2, LANES, phases, Sessions::Renewed(20)),
        population("spike", 3, SPIKE_LANES, spike, Sessions::WhileNeeded(unit / 8)),
    ];
    let mut beside = None;
    let driven =
        drive(guard.address(), populations, |start| beside = Some(Faults::begin(Arc::clone(&node), faults, start)))
            .await?;
    beside.ok_or("there were no faults")?.end()?;
    drop(node);
    Ok(found(&driven))
}

/// What those who call all the time do, and how the node is meanwhile.
fn plan(unit: Duration, rate: f64) -> (Vec<Phase>, Vec<(Duration, Mood)>) {
    let ramp = Phase { name: "ramp".into(), length: unit, from: rate * 0.1, to: rate * 1.5 };
    let mut phases = vec![
        Phase::steady("steady", unit, rate * 0.5),
        ramp,
        Phase::steady("after the ramp", unit / 2, rate * 0.3),
        Phase::steady("beside the spike", unit, rate * 0.3),
        Phase::steady("after the spike", unit / 2, rate * 0.5),
    ];
    let mut at = phases.iter().map(|phase| phase.length).sum::<Duration>();
    // In the middle of the spike the node dies.
    let spike = unit * 5 / 2 + unit / 2;
    let mut faults = vec![(spike, Mood::Dead), (spike + unit / 8, Mood::Well)];
    for (name, mood) in FAULTS {
        phases.push(Phase::steady(name, unit / 2, rate * 0.5));
        phases.push(Phase::steady(format!("after {name}"), unit, rate * 0.5));
        faults.extend([(at, mood), (at + unit / 2, Mood::Well)]);
        at += unit / 2 + unit;
    }
    phases.push(Phase::steady("at the end", unit, rate * 0.5));
    (phases, faults)
}

fn found(driven: &[Driven]) -> Shapes {
    let phases: Vec<Summary> = driven.iter().flat_map(summarize).filter(|phase| phase.offered > 0).collect();
    let wrong = driven.iter().flat_map(|driven| &driven.attempts).filter(|attempt| is_wrong(attempt)).count() as u64;
    let always = driven.first();
    let recoveries = always.map(recoveries).unwrap_or_default();
    let is_well_at_the_end = always.is_some_and(|driven| {
        let phases = &driven.population.phases;
        let all: Duration = phases.iter().map(|phase| phase.length).sum();
        let half = phases.last().map(|phase| phase.length / 2).unwrap_or_default();
        let mut last = driven.attempts.iter().filter(|attempt| attempt.due + half >= all).peekable();
        last.peek().is_some() && last.all(|attempt| attempt.end == End::Answered)
    });
    Shapes { phases, recoveries, wrong, is_well_at_the_end }
}

pub(crate) fn is_wrong(attempt: &Attempt) -> bool {
    matches!(attempt.end, End::Wrong(_))
}

/// For each phase after a fault, how long it took from its beginning until all calls were answered.
fn recoveries(driven: &Driven) -> Vec<(String, Option<f64>)> {
    let mut begins = Duration::ZERO;
    let mut all = Vec::new();
    for (index, phase) in driven.population.phases.iter().enumerate() {
        if let Some(fault) = phase.name.strip_prefix("after ").filter(|name| *name != "the ramp") {
            // Calls at its very end may still be out when the next fault begins.
            let until = begins + phase.length.mul_f64(0.8);
            let due = driven.attempts.iter().filter(|attempt| attempt.phase == index && attempt.due < until);
            let last = due.filter(|attempt| attempt.end != End::Answered).map(|attempt| attempt.due).max();
            let took = last.map_or(Duration::ZERO, |last| last.saturating_sub(begins));
            // Without calls that went well after it, it is no recovery.
            let is_over = took < phase.length.mul_f64(0.75);
            all.push((fault.to_owned(), is_over.then_some(took.as_secs_f64())));
        }
        begins += phase.length;
    }
    all
}
