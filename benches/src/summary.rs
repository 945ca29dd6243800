//! Medians over the rounds, and ratios to one proxy in the same rounds.

use crate::contest::{Outcome, Round};
use crate::stats::{Spread, median};
use crate::table::Table;

/// Prints a table for each number of connections; ratios are to the contestant called `reference`.
pub fn print(outcome: &Outcome, reference: &str) {
    for table in tables(outcome, reference) {
        table.print();
    }
}

const HEAD: [&str; 11] = [
    "",
    "CPU s / 100k calls",
    "in its own code",
    "CPU / reference",
    "calls/s",
    "calls/s / reference",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "p99 / reference",
    "others' CPU",
];

/// One table for each number of connections.
pub(crate) fn tables(outcome: &Outcome, reference: &str) -> Vec<Table> {
    let place = outcome.names.iter().position(|name| name == reference);
    let table = |(connections, all): &(usize, Vec<Vec<Round>>)| {
        let count = all.first().map_or(0, Vec::len);
        let title = format!(
            "{connections} connections, medians of {count} rounds; ratios to {reference} in the same round (lowest-highest)"
        );
        let mut table = Table::new(title, &HEAD);
        let reference = place.and_then(|place| all.get(place)).map_or(&[][..], Vec::as_slice);
        for (name, rounds) in outcome.names.iter().zip(all) {
            table.row(row(name, rounds, reference));
        }
        table
    };
    outcome.by_connections.iter().map(table).collect()
}

fn row(name: &str, rounds: &[Round], reference: &[Round]) -> Vec<String> {
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let against = |figure: fn(&Round) -> f64| ratio(rounds, reference, figure).map_or("-".into(), |it| it.to_string());
    let cpu = of(Round::cpu_seconds);
    let [cpu, user, cpu_ratio] = if cpu > 0.0 {
        [format!("{cpu:.2}"), format!("{:.2}", of(Round::user_seconds)), against(Round::cpu_seconds)]
    } else {
        ["-"; 3].map(str::to_owned)
    };
    let calls = format!("{:.0}", of(|round| round.calls_per_second));
    let calls_ratio = against(|round| round.calls_per_second);
    let [p50, p99, p999] = [of(|round| round.p50_ms), of(|round| round.p99_ms), of(|round| round.p999_ms)]
        .map(|milliseconds| format!("{milliseconds:.2}"));
    let p99_ratio = against(|round| round.p99_ms);
    let others = format!("{:.0} %", of(|round| round.others) * 100.0);
    vec![name.into(), cpu, user, cpu_ratio, calls, calls_ratio, p50, p99, p999, p99_ratio, others]
}

/// One figure of `rounds` against that of `reference` in the same rounds.
pub(crate) fn ratio(rounds: &[Round], reference: &[Round], figure: fn(&Round) -> f64) -> Option<Spread> {
    let figures = |rounds: &[Round]| rounds.iter().map(figure).collect::<Vec<_>>();
    Spread::of_ratios(&figures(rounds), &figures(reference))
}
