//! More than the node bears: what is answered, who waits, who is turned away, and how soon it is over.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::drive::{Attempt, Driven, GIVES_UP, Population, Retry, Sessions, drive};
use super::judge::{Ask, End};
use super::node::{BusyNode, Capacity};
use super::plan::Phase;
use super::shapes::is_wrong;
use super::sidecar::Sidecar;
use super::tables::quantile_ms;
use crate::Fault;
use crate::stats::quantile;

/// One round: ever more, and then little again.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Overload {
    /// Each rate, as a multiple of the capacity.
    pub steps: Vec<Step>,
    /// Seconds from the end of the overload to when the last fresh call was due that was refused or slow; `None` if such
    /// calls were still there at the end of the round.
    pub recovered_after: Option<f64>,
    /// The share of fresh calls that were answered in the last quarter of the round.
    pub answered_at_the_end: f64,
    /// Answers that were not those that were asked for.
    pub wrong: u64,
    /// Answered calls a second, in each half second of the round.
    pub timeline: Vec<f64>,
}

/// What came of one rate, once the queue had filled.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// The rate of fresh calls against the capacity.
    pub times: f64,
    /// Attempts a second, retries included.
    pub attempts_per_second: f64,
    /// Calls a second that were answered.
    pub goodput: f64,
    /// Milliseconds from when an answered attempt was sent.
    pub admitted_p50_ms: f64,
    /// The same.
    pub admitted_p99_ms: f64,
    /// The longest.
    pub admitted_max_ms: f64,
    /// The share of attempts that were refused.
    pub refused: f64,
    /// By reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Milliseconds from when a refused attempt was sent.
    pub refused_p50_ms: f64,
    /// The same.
    pub refused_p99_ms: f64,
    /// `Retry-After` in seconds: lowest, median, highest. NaN without refusals.
    pub retry_after: [f64; 3],
    /// The share of refusals that have one.
    pub with_retry_after: f64,
    /// Pings: share answered, p50 and p99 in milliseconds.
    pub pings: [f64; 3],
    /// Lists: the same.
    pub lists: [f64; 3],
    /// How late the generator was, p99 in milliseconds.
    pub late_p99_ms: f64,
    /// Attempts that failed without a refusal, by kind.
    pub failed: BTreeMap<&'static str, u64>,
}

/// The rates. Once more little comes after the last.
pub(crate) const TIMES: [f64; 5] = [0.5, 1.0, 2.0, 5.0, 10.0];

/// The queue is the default one. All else is out of its way.
pub(crate) const GUARD: &str = "  limits: {connections: 20000, connections_per_client: 20000}\n  rate_limits: []\n";

/// Callers at a time: more than ever wait or run.
const LANES: usize = 3_000;
/// Calls a second of each of the higher classes.
const HIGHER_RATE: f64 = 25.0;
const HIGHER_LANES: usize = 64;

/// From the beginning of a step, what is not counted: a queue shortens its waits once it has stood for `max_wait`, 2 s.
pub(crate) fn settling(step: Duration) -> Duration {
    (step / 2).min(Duration::from_millis(2_500))
}

/// Offers ever more to the guard at `program`, each rate for `step`, and little for twice that at the end, or longer if
/// clients still come back.
///
/// # Errors
///
/// If guard or node do not start.
pub async fn overload(program: &Path, capacity: Capacity, step: Duration, retry: Retry) -> Result<Overload, Fault> {
    let node = BusyNode::start(capacity)?;
    let guard = Sidecar::start(program, node.address(), GUARD, "")?;
    let rate = capacity.per_second();
    let mut phases: Vec<_> = TIMES.iter().map(|times| Phase::steady(format!("{times}"), step, rate * times)).collect();
    let after = step * 2 + if matches!(retry, Retry::AsTold(_)) { GIVES_UP } else { Duration::ZERO };
    phases.push(Phase::steady("after", after, rate * 0.5));
    let all = phases.iter().map(|phase| phase.length).sum();
    let of = |name: &str, last: u8, lanes: usize, phases: Vec<Phase>, ask: Ask, retry: Retry| Population {
        name: name.into(),
        source: Ipv4Addr::new(127, 0, 0, last),
        lanes,
        phases,
        ask,
        retry,
        sessions: Sessions::Stay,
    };
    let higher = || vec![Phase::steady("always", all, HIGHER_RATE)];
    let populations = vec![
        of("work", 2, LANES, phases, Ask::Call, retry),
        of("pings", 3, HIGHER_LANES, higher(), Ask::Ping, Retry::Never),
        of("lists", 4, HIGHER_LANES, higher(), Ask::List, Retry::Never),
    ];
    let driven = drive(guard.address(), populations, |_| ()).await?;
    let [work, pings, lists] = driven.as_slice() else { return Err("three called".into()) };
    let mut steps = Vec::new();
    for (place, times) in (0..).zip(TIMES) {
        let window = Window { from: step * place + settling(step), to: step * (place + 1) };
        let mut found = window.step(work);
        found.times = times;
        found.pings = window.higher(pings);
        found.lists = window.higher(lists);
        steps.push(found);
    }
    let wrong = driven.iter().flat_map(|driven| &driven.attempts).filter(|attempt| is_wrong(attempt)).count() as u64;
    let (recovered_after, answered_at_the_end) = recovery(work, capacity.service, all - after, all);
    let half = Duration::from_millis(500);
    let halves = (0..).map(|number| Window { from: half * number, to: half * (number + 1) });
    let timeline = halves.take_while(|window| window.to <= all).map(|window| window.goodput(work)).collect();
    Ok(Overload { steps, recovered_after, answered_at_the_end, wrong, timeline })
}

/// The part of a run that counts for a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
}

impl Window {
    pub(crate) fn has(self, time: Duration) -> bool {
        self.from <= time && time < self.to
    }

    /// Calls a second that were answered in it.
    pub(crate) fn goodput(self, driven: &Driven) -> f64 {
        let answered = driven.attempts.iter().filter(|it| it.end == End::Answered && self.has(it.ended));
        answered.count() as f64 / (self.to - self.from).as_secs_f64()
    }

    fn step(self, work: &Driven) -> Step {
        let sent: Vec<&Attempt> = work.attempts.iter().filter(|attempt| self.has(attempt.sent)).collect();
        let took = |attempt: &&Attempt| attempt.ended.saturating_sub(attempt.sent);
        let of = |is: fn(&End) -> bool| sent.iter().filter(|attempt| is(&attempt.end)).copied().collect::<Vec<_>>();
        let admitted = of(|end| *end == End::Answered);
        let refused = of(|end| matches!(end, End::Refused(_)));
        let (mut reasons, mut failed) = (BTreeMap::new(), BTreeMap::new());
        for attempt in &sent {
            match attempt.end {
                End::Refused(reason) => *reasons.entry(reason).or_default() += 1,
                End::Failed(why) => *failed.entry(why).or_default() += 1,
                End::Answered | End::Wrong(_) => {}
            }
        }
        let admitted_took: Vec<_> = admitted.iter().map(took).collect();
        let refused_took: Vec<_> = refused.iter().map(took).collect();
        let mut waits: Vec<f64> =
            refused.iter().filter_map(|attempt| Some(attempt.retry_after?.as_secs_f64())).collect();
        waits.sort_by(f64::total_cmp);
        let wait = |share| quantile(&waits, share).unwrap_or(f64::NAN);
        let fresh = work.attempts.iter().filter(|attempt| attempt.number == 0 && self.has(attempt.due));
        let late: Vec<_> = fresh.map(|attempt| attempt.sent.saturating_sub(attempt.due)).collect();
        let seconds = (self.to - self.from).as_secs_f64();
        Step {
            attempts_per_second: sent.len() as f64 / seconds,
            goodput: self.goodput(work),
            admitted_p50_ms: quantile_ms(&admitted_took, 0.5),
            admitted_p99_ms: quantile_ms(&admitted_took, 0.99),
            admitted_max_ms: quantile_ms(&admitted_took, 1.0),
            refused: refused.len() as f64 / sent.len().max(1) as f64,
            with_retry_after: waits.len() as f64 / refused.len().max(1) as f64,
            retry_after: [wait(0.0), wait(0.5), wait(1.0)],
            refused_p50_ms: quantile_ms(&refused_took, 0.5),
            refused_p99_ms: quantile_ms(&refused_took, 0.99),
            reasons,
            late_p99_ms: quantile_ms(&late, 0.99),
            failed,
            ..Step::default()
        }
    }

    /// Share answered, p50 and p99 of calls that were due in it.
    pub(crate) fn higher(self, driven: &Driven) -> [f64; 3] {
        let due: Vec<_> = driven.attempts.iter().filter(|attempt| self.has(attempt.due)).collect();
        let answered: Vec<_> = due.iter().filter(|attempt| attempt.end == End::Answered).collect();
        let took: Vec<_> = answered.iter().map(|attempt| attempt.ended.saturating_sub(attempt.due)).collect();
        [answered.len() as f64 / due.len().max(1) as f64, quantile_ms(&took, 0.5), quantile_ms(&took, 0.99)]
    }
}

/// When the last fresh call was due that was refused, failed, or took more than three times what it takes, counted from `over`;
/// and the share of those of the last quarter that were answered.
fn recovery(work: &Driven, service: Duration, over: Duration, end: Duration) -> (Option<f64>, f64) {
    let quarter = end - (end - over) / 4;
    let fresh = work.attempts.iter().filter(|attempt| attempt.number == 0 && over <= attempt.due);
    let is_bad =
        |attempt: &&Attempt| attempt.end != End::Answered || attempt.ended.saturating_sub(attempt.due) > service * 3;
    let last = fresh.clone().filter(is_bad).map(|attempt| attempt.due).max();
    let took = last.map_or(Duration::ZERO, |last| last.saturating_sub(over));
    let at_the_end: Vec<_> = fresh.filter(|attempt| quarter <= attempt.due).collect();
    let answered = at_the_end.iter().filter(|attempt| attempt.end == End::Answered).count();
    ((over + took < quarter).then_some(took.as_secs_f64()), answered as f64 / at_the_end.len().max(1) as f64)
}
