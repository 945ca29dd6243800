//! What becomes of calls where ten times as many come as the node bears: goodput, refusals, who goes first, how soon it is over,
//! with clients that call again, and whether one can starve the others.
//!
//! `cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches && target/release/overload`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mcp_guard::units::Span;
use mcp_guard_benches::pressure::{
    Capacity, Retry, fairness, judge_fairness, judge_overload, overload, print_fairness, print_overload,
};
use mcp_guard_benches::{Fault, say};

/// Offers a guard up to ten times what its node bears.
#[derive(Parser)]
struct Arguments {
    /// The guard [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    guard: Option<PathBuf>,
    /// Calls that the node works on at once
    #[arg(long, default_value_t = 32)]
    places: u32,
    /// How long it works on one
    #[arg(long, default_value = "100ms", value_parser = span)]
    service: Duration,
    /// How much slower it gets by those that wait inside it: 1 is twice as slow where as many wait as there are places
    #[arg(long, default_value_t = 0.0)]
    waste: f64,
    /// How long each rate is offered
    #[arg(long, default_value = "6s", value_parser = span)]
    step: Duration,
    /// How many rounds the medians are of
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What is measured
    #[arg(value_enum, default_values_t = [Part::NoRetries, Part::AtOnce, Part::AsTold, Part::Fairness])]
    parts: Vec<Part>,
    /// Where the figures are written, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// In how many seconds all has to be as before.
const RECOVERS: f64 = 5.0;

/// A part of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    /// Refused calls are given up
    NoRetries,
    /// Refused calls are made again at once, three times
    AtOnce,
    /// Refused calls are made again when Retry-After has passed, three times
    AsTold,
    /// A noisy client among ten quiet ones
    Fairness,
}

fn span(text: &str) -> Result<Duration, String> {
    text.parse::<Span>().map(|span| span.0).map_err(|error| error.to_string())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Fault> {
    let arguments = Arguments::parse();
    let beside = std::env::current_exe()?.with_file_name("mcp-guard");
    let guard = arguments.guard.unwrap_or(beside);
    let capacity = Capacity { places: arguments.places, service: arguments.service, waste: arguments.waste };
    say(format_args!("the node answers {:.0} calls a second at best", capacity.per_second()));
    let mut are_held = true;
    let mut json = serde_json::Map::new();
    for part in arguments.parts {
        let retry = match part {
            Part::NoRetries => Some(("none", Retry::Never, RECOVERS)),
            Part::AtOnce => Some(("at once, three times", Retry::AtOnce(3), RECOVERS)),
            // Those who were sent away come back for ten seconds.
            Part::AsTold => Some(("as Retry-After says, for 10 s", Retry::AsTold(3), 10.0 + RECOVERS)),
            Part::Fairness => None,
        };
        let name = part.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let found = match retry {
            Some((words, retry, recovers)) => {
                let mut rounds = Vec::new();
                for _ in 0..arguments.rounds {
                    rounds.push(overload(&guard, capacity, arguments.step, retry).await?);
                }
                print_overload(words, &rounds);
                are_held &= judge_overload(&rounds, recovers);
                serde_json::to_value(&rounds)?
            }
            None => {
                let mut rounds = Vec::new();
                for _ in 0..arguments.rounds {
                    rounds.push(fairness(&guard, capacity, arguments.step * 2).await?);
                }
                print_fairness(&rounds);
                are_held &= judge_fairness(&rounds);
                serde_json::to_value(&rounds)?
            }
        };
        json.insert(name, found);
    }
    if let Some(file) = arguments.json {
        std::fs::write(file, serde_json::to_vec_pretty(&json)?)?;
    }
    Ok(if are_held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
