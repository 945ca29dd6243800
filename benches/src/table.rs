//! Medians over the rounds, and ratios to the first proxy in the same rounds.

use std::fmt::Arguments;
use std::io::Write;

use crate::contest::{Outcome, Round};

/// Prints a table for each number of connections; ratios are to the contestant called `reference`.
pub fn print(outcome: &Outcome, reference: &str) {
    let reference = outcome.names.iter().position(|name| name == reference);
    for (connections, rounds) in &outcome.by_connections {
        let count = rounds.first().map_or(0, Vec::len);
        say(format_args!("\n{connections} connections, medians of {count} rounds (ratios: lowest to highest)\n"));
        say(format_args!(
            "| | CPU s / 100k calls | in its own code | / reference | calls/s | / reference | p50 ms | p99 ms | others' CPU |"
        ));
        say(format_args!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |"));
        let reference = reference.and_then(|index| rounds.get(index));
        for (name, rounds) in outcome.names.iter().zip(rounds) {
            row(name, rounds, reference.map_or(&[], Vec::as_slice));
        }
    }
}

fn row(name: &str, rounds: &[Round], reference: &[Round]) {
    let of = |figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let against = |figure: fn(&Round) -> f64| {
        let ratios: Vec<f64> =
            rounds.iter().zip(reference).map(|(round, reference)| figure(round) / figure(reference)).collect();
        let (low, high) = ratios.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), x| (low.min(*x), high.max(*x)));
        if ratios.is_empty() { "-".into() } else { format!("{:.2} ({low:.2}-{high:.2})", median(ratios)) }
    };
    // A hundred thousand calls at so many microseconds each, in seconds.
    let cpu = of(|round| round.cpu_micros) / 10.0;
    let user = of(|round| round.user_micros) / 10.0;
    let [cpu, user, cpu_ratio] = if cpu > 0.0 {
        [format!("{cpu:.2}"), format!("{user:.2}"), against(|round| round.cpu_micros)]
    } else {
        ["-"; 3].map(str::to_owned)
    };
    say(format_args!(
        "| {name} | {cpu} | {user} | {cpu_ratio} | {:.0} | {} | {:.2} | {:.2} | {:.0} % |",
        of(|round| round.calls_per_second),
        against(|round| round.calls_per_second),
        of(|round| round.p50_ms),
        of(|round| round.p99_ms),
        of(|round| round.others) * 100.0,
    ));
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Writes a line to the standard output.
pub fn say(line: Arguments<'_>) {
    // Whoever closed the output does not want to read on.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
