//! How the guard bears load that is steady, rises, or comes out of nothing, and a node that gets slow, broken and dead
//! meanwhile; every answer is checked.
//!
//! `cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches && target/release/shapes`, and with `--soak 30m` whether
//! it holds more and more.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mcp_guard_benches::Fault;
use mcp_guard_benches::pressure::{Setting, SoakPlan, print_shapes, print_soak, shapes, soak, span};

/// Drives a guard through shapes of load and faults of its node, or soaks it.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    setting: Setting,
    /// How long a phase is; all take eleven of them
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
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Fault> {
    let arguments = Arguments::parse();
    let (guard, capacity) = (arguments.setting.guard()?, arguments.setting.capacity());
    let is_good = if let Some(length) = arguments.soak {
        let interval = (length / 360).max(Duration::from_secs(1));
        let plan = SoakPlan { length, rate: arguments.rate, cycle: arguments.cycle, interval };
        let found = soak(&guard, capacity, plan).await?;
        print_soak(&found);
        arguments.setting.write(&found)?;
        found.is_good()
    } else {
        let found = shapes(&guard, capacity, arguments.phase).await?;
        print_shapes(&found);
        arguments.setting.write(&found)?;
        found.is_good()
    };
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
