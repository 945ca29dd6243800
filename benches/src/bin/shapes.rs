//! How the guard bears load that is steady, rises, or comes out of nothing, and a node that gets slow, broken and dead
//! meanwhile; every answer is checked.
//!
//! `cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches && target/release/shapes`, and with `--soak 30m` whether
//! it holds more and more.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mcp_guard::units::Span;
use mcp_guard_benches::Fault;
use mcp_guard_benches::pressure::{Capacity, SoakPlan, print_shapes, print_soak, shapes, soak};

/// Drives a guard through shapes of load and faults of its node, or soaks it.
#[derive(Parser)]
struct Arguments {
    /// The guard [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    guard: Option<PathBuf>,
    /// Calls that the node works on at once
    #[arg(long, default_value_t = 32)]
    places: u32,
    /// How long it works on one
    #[arg(long, default_value = "80ms", value_parser = span)]
    service: Duration,
    /// How much slower it gets by those that wait inside it: 1 is twice as slow where as many wait as there are places
    #[arg(long, default_value_t = 0.0)]
    waste: f64,
    /// How long a phase is; all take ten of them
    #[arg(long, default_value = "8s", value_parser = span)]
    phase: Duration,
    /// One load for so long instead, after a cycle in which it warms up
    #[arg(long, value_parser = span)]
    soak: Option<Duration>,
    /// Calls a second of the soak
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// From one series of faults to the next in the soak
    #[arg(long, default_value = "5m", value_parser = span)]
    cycle: Duration,
    /// Where the figures are written, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
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
    let (is_good, json) = if let Some(length) = arguments.soak {
        let interval = (length / 360).max(Duration::from_secs(1));
        let plan = SoakPlan { length, rate: arguments.rate, cycle: arguments.cycle, interval };
        let found = soak(&guard, capacity, plan).await?;
        print_soak(&found);
        (found.is_good(), serde_json::to_vec_pretty(&found)?)
    } else {
        let found = shapes(&guard, capacity, arguments.phase).await?;
        print_shapes(&found);
        (found.is_good(), serde_json::to_vec_pretty(&found)?)
    };
    if let Some(file) = arguments.json {
        std::fs::write(file, json)?;
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
