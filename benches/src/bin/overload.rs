//! What becomes of calls where ten times as many come as the node bears: goodput, refusals, who goes first, how soon it is over,
//! with clients that call again, and whether one can starve the others.
//!
//! `cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches && target/release/overload`

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use mcp_guard_benches::pressure::{
    Retry, Setting, fairness, judge_fairness, judge_overload, overload, print_fairness, print_overload, span,
};
use mcp_guard_benches::{Fault, say};

/// Offers a guard up to ten times what its node bears.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    setting: Setting,
    /// How long each rate is offered
    #[arg(long, default_value = "6s", value_parser = span)]
    step: Duration,
    /// How many rounds the medians are of
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// What is measured
    #[arg(value_enum, default_values_t = [Part::NoRetries, Part::AtOnce, Part::AsTold, Part::Fairness])]
    parts: Vec<Part>,
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Fault> {
    let arguments = Arguments::parse();
    let (guard, capacity) = (arguments.setting.guard()?, arguments.setting.capacity());
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
    arguments.setting.write(&json)?;
    Ok(if are_held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
