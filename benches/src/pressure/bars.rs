//! What an overload has to come to.

use super::fairness::Fairness;
use super::overload::{Overload, Step};
use crate::say;
use crate::stats::median;

/// Something that was asked for, and what came of it.
#[derive(Debug)]
struct Bar {
    what: &'static str,
    found: f64,
    holds: bool,
}

/// Prints which bars the medians of `rounds` hold, and says whether all are held.
pub fn judge_overload(rounds: &[Overload], seconds_to_recover: f64) -> bool {
    let of = |figure: &dyn Fn(&Overload) -> f64| median(rounds.iter().map(figure).collect());
    let last = |figure: fn(&Step) -> f64| of(&|round| round.steps.last().map_or(f64::NAN, figure));
    let peak = |round: &Overload| round.steps.iter().map(|step| step.goodput).fold(0.0, f64::max);
    let goodput = of(&|round| round.steps.last().map_or(0.0, |step| step.goodput) / peak(round));
    let (admitted, refused) = (last(|step| step.admitted_p99_ms), last(|step| step.refused_p99_ms));
    let [pings, lists] = [last(|step| step.pings[0]), last(|step| step.lists[0])];
    let recovered = of(&|round| round.recovered_after.unwrap_or(f64::INFINITY));
    let told = last(|step| step.with_retry_after);
    let wrong = rounds.iter().map(|round| round.wrong).sum::<u64>();
    judge(&[
        Bar {
            what: "goodput at the highest rate against the peak, at least 0.9",
            found: goodput,
            holds: goodput >= 0.9,
        },
        Bar { what: "pings answered there, at least 0.99", found: pings, holds: pings >= 0.99 },
        Bar { what: "lists answered there, at least 0.99", found: lists, holds: lists >= 0.99 },
        Bar { what: "p99 of refusals there, below 10 ms", found: refused, holds: refused < 10.0 },
        Bar { what: "refusals with Retry-After, all", found: told, holds: told >= 0.999 },
        Bar { what: "p99 of admitted calls there, below 2,500 ms", found: admitted, holds: admitted < 2_500.0 },
        Bar { what: "seconds to recover, few", found: recovered, holds: recovered < seconds_to_recover },
        Bar { what: "wrong answers, none", found: wrong as f64, holds: wrong == 0 },
    ])
}

/// The same for a noisy client among others.
pub fn judge_fairness(rounds: &[Fairness]) -> bool {
    let of = |figure: fn(&Fairness) -> f64| median(rounds.iter().map(figure).collect());
    let (quiet, jain) = (of(|round| round.quiet_answered_least), of(|round| round.jain));
    let wrong = rounds.iter().map(|round| round.wrong).sum::<u64>();
    judge(&[
        Bar {
            what: "least share of a quiet client's calls answered, at least 0.99",
            found: quiet,
            holds: quiet >= 0.99,
        },
        Bar { what: "Jain's index, at least 0.98", found: jain, holds: jain >= 0.98 },
        Bar { what: "wrong answers, none", found: wrong as f64, holds: wrong == 0 },
    ])
}

fn judge(bars: &[Bar]) -> bool {
    for bar in bars {
        let word = if bar.holds { "held" } else { "MISSED" };
        say(format_args!("{word}: {}: {:.3}", bar.what, bar.found));
    }
    bars.iter().all(|bar| bar.holds)
}
