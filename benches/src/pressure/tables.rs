//! What was found, for people to read.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::drive::Driven;
use super::fairness::Fairness;
use super::judge::End;
use super::overload::{Overload, Step};
use super::shapes::Shapes;
use super::soak::Soak;
use crate::load::whole_micros;
use crate::say;
use crate::stats::{median, quantile};
use crate::table::Table;

/// The calls of one phase, each by how its last attempt ended.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Who called.
    pub population: String,
    /// In which phase the calls were due.
    pub phase: String,
    /// How long that was.
    pub seconds: f64,
    /// Calls that were due.
    pub offered: u64,
    /// Those that were answered rightly.
    pub answered: u64,
    /// Those that the guard refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Those that failed without a refusal.
    pub failed: BTreeMap<&'static str, u64>,
    /// Those with an answer that was another's, or none at all.
    pub wrong: BTreeMap<&'static str, u64>,
    /// Milliseconds from when an answered call was due to its answer.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
}

/// The phases of a population.
pub fn summarize(driven: &Driven) -> Vec<Summary> {
    let of = |(index, phase): (usize, &super::plan::Phase)| {
        let mut summary = Summary {
            population: driven.population.name.clone(),
            phase: phase.name.clone(),
            seconds: phase.length.as_secs_f64(),
            offered: 0,
            answered: 0,
            refused: BTreeMap::new(),
            failed: BTreeMap::new(),
            wrong: BTreeMap::new(),
            p50_ms: 0.0,
            p99_ms: 0.0,
        };
        let mut took = Vec::new();
        for attempt in driven.attempts.iter().filter(|attempt| attempt.phase == index && attempt.is_last) {
            summary.offered += 1;
            match attempt.end {
                End::Answered => {
                    summary.answered += 1;
                    took.push(attempt.ended.saturating_sub(attempt.due));
                }
                End::Refused(why) => *summary.refused.entry(why).or_default() += 1,
                End::Failed(why) => *summary.failed.entry(why).or_default() += 1,
                End::Wrong(why) => *summary.wrong.entry(why).or_default() += 1,
            }
        }
        (summary.p50_ms, summary.p99_ms) = (quantile_ms(&took, 0.5), quantile_ms(&took, 0.99));
        summary
    };
    driven.population.phases.iter().enumerate().map(of).collect()
}

/// The time that `share` of `times` do not exceed, in milliseconds; NaN without any.
pub(crate) fn quantile_ms(times: &[Duration], share: f64) -> f64 {
    let mut micros: Vec<u32> = times.iter().map(|time| whole_micros(*time)).collect();
    micros.sort_unstable();
    quantile(&micros, share).map_or(f64::NAN, |micros| f64::from(micros) / 1e3)
}

fn by_kind(counts: &BTreeMap<&'static str, u64>) -> String {
    let text: Vec<_> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    if text.is_empty() { "0".into() } else { text.join(", ") }
}

fn print_phases(title: &str, phases: &[Summary]) {
    let head = ["who", "phase", "s", "offered", "answered", "refused", "failed", "wrong", "p50 ms", "p99 ms"];
    let mut table = Table::new(title, &head);
    for phase in phases {
        table.row(vec![
            phase.population.clone(),
            phase.phase.clone(),
            format!("{:.1}", phase.seconds),
            phase.offered.to_string(),
            phase.answered.to_string(),
            by_kind(&phase.refused),
            by_kind(&phase.failed),
            by_kind(&phase.wrong),
            format!("{:.1}", phase.p50_ms),
            format!("{:.1}", phase.p99_ms),
        ]);
    }
    table.print();
}

/// Prints what came of all shapes.
pub fn print_shapes(shapes: &Shapes) {
    print_phases("Calls by phase; latency of answered calls from when they were due", &shapes.phases);
    let mut table = Table::new("All calls answered again, after the fault's end", &["fault", "s"]);
    for (fault, seconds) in &shapes.recoveries {
        let seconds = seconds.map_or("not before the next".into(), |seconds| format!("{seconds:.2}"));
        table.row(vec![fault.clone(), seconds]);
    }
    table.print();
    let end = if shapes.is_well_at_the_end { "well at the end" } else { "NOT WELL AT THE END" };
    say(format_args!("\n{} wrong answers; {end}", shapes.wrong));
}

/// Prints what came of a soak.
pub fn print_soak(soak: &Soak) {
    print_phases("Calls", &soak.phases);
    let head = ["figure", "mean", "lowest", "highest", "growth an hour ± 95 %", "", "left at the end"];
    let mut table = Table::new("What the guard held, without the warm-up", &head);
    for (name, slope) in &soak.slopes {
        table.row(vec![
            name.clone(),
            format!("{:.1}", slope.mean),
            format!("{:.0}", slope.low),
            format!("{:.0}", slope.high),
            slope.to_string(),
            if slope.is_flat() { "flat" } else { "GROWS" }.into(),
            soak.left.get(name).map_or("-".into(), |left| format!("{left:.0}")),
        ]);
    }
    table.print();
    say(format_args!("\n{} wrong answers", soak.wrong));
}

/// Prints the medians of `rounds`, in which refused calls were repeated as `retry` says.
pub fn print_overload(retry: &str, rounds: &[Overload]) {
    let head = [
        "offered",
        "attempts/s",
        "goodput/s",
        "admitted p50, p99, max ms",
        "refused",
        "refusal p50, p99 ms",
        "Retry-After s, least-median-most",
        "with it",
        "pings answered, p50, p99 ms",
        "lists answered, p50, p99 ms",
        "generator late, p99 ms",
    ];
    let title = format!("Overload, retries: {retry}; medians of {} rounds", rounds.len());
    let mut table = Table::new(title, &head);
    for place in 0..super::overload::TIMES.len() {
        let of = |figure: &dyn Fn(&Step) -> f64| {
            median(rounds.iter().filter_map(|round| round.steps.get(place)).map(figure).collect())
        };
        let higher = |of_class: &dyn Fn(&Step) -> [f64; 3]| {
            let [answered, p50, p99] = [0, 1, 2].map(|at| of(&|step| of_class(step).get(at).copied().unwrap_or(0.0)));
            format!("{:.1} %, {p50:.1}, {p99:.1}", answered * 100.0)
        };
        let waits = [0, 1, 2].map(|at| of(&|step| step.retry_after.get(at).copied().unwrap_or(f64::NAN)));
        table.row(vec![
            format!("{} ×", of(&|step| step.times)),
            format!("{:.0}", of(&|step| step.attempts_per_second)),
            format!("{:.1}", of(&|step| step.goodput)),
            format!(
                "{:.0}, {:.0}, {:.0}",
                of(&|step| step.admitted_p50_ms),
                of(&|step| step.admitted_p99_ms),
                of(&|step| step.admitted_max_ms)
            ),
            format!("{:.0} %", of(&|step| step.refused) * 100.0),
            format!("{:.2}, {:.2}", of(&|step| step.refused_p50_ms), of(&|step| step.refused_p99_ms)),
            waits.map(|wait| format!("{wait:.0}")).join("-"),
            format!("{:.0} %", of(&|step| step.with_retry_after) * 100.0),
            higher(&|step| step.pings),
            higher(&|step| step.lists),
            format!("{:.1}", of(&|step| step.late_p99_ms)),
        ]);
    }
    table.print();
    for round in rounds {
        let recovered = round.recovered_after.map_or("NOT RECOVERED".into(), |it| format!("recovered after {it:.2} s"));
        let reasons = round.steps.last().map(|step| by_kind(&step.reasons)).unwrap_or_default();
        let mut failed = BTreeMap::new();
        for (why, count) in round.steps.iter().flat_map(|step| &step.failed) {
            *failed.entry(*why).or_default() += count;
        }
        let failed = by_kind(&failed);
        say(format_args!(
            "{recovered}, {:.1} % answered at the end; {} wrong; failed: {failed}; refused at the highest rate: {reasons}",
            round.answered_at_the_end * 100.0,
            round.wrong
        ));
    }
}

/// Prints the medians of `rounds`.
pub fn print_fairness(rounds: &[Fairness]) {
    let head = ["quiet answered", "the least of one", "worst p99 ms", "noisy answered", "of its fair part", "Jain"];
    let mut table = Table::new(format!("A noisy client among ten; medians of {} rounds", rounds.len()), &head);
    let of = |figure: fn(&Fairness) -> f64| median(rounds.iter().map(figure).collect());
    table.row(vec![
        format!("{:.1} %", of(|round| round.quiet_answered) * 100.0),
        format!("{:.1} %", of(|round| round.quiet_answered_least) * 100.0),
        format!("{:.0}", of(|round| round.quiet_p99_ms)),
        format!("{:.1} %", of(|round| round.noisy_answered) * 100.0),
        format!("{:.2}", of(|round| round.noisy_of_its_part)),
        format!("{:.4}", of(|round| round.jain)),
    ]);
    table.print();
    say(format_args!("{} wrong answers", rounds.iter().map(|round| round.wrong).sum::<u64>()));
}
