//! What a call costs in the library as sessions, tools, keys, rules, schemas, bodies and batches grow, and in the sidecar as
//! nodes do.
//!
//! `cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches && target/release/growth`

use std::path::PathBuf;

use clap::Parser;
use clap::builder::PossibleValuesParser;
use mcp_guard_benches::{Fault, growth, say};

/// Measures the guard's layers in memory against the size of what they hold and of what they are sent.
#[derive(Parser)]
struct Arguments {
    /// What grows [default: everything]
    #[arg(value_parser = PossibleValuesParser::new(growth::names()))]
    only: Vec<String>,
    /// How many calls each median is of
    #[arg(long, default_value_t = 2000)]
    iterations: usize,
    /// The most sessions, tools and keys
    #[arg(long, default_value_t = 1_000_000)]
    largest: usize,
    /// Where the page is written
    #[arg(long, value_name = "DIRECTORY", default_value = "target/growth")]
    page: PathBuf,
}

fn main() -> Result<(), Fault> {
    let arguments = Arguments::parse();
    let settings = growth::Settings { iterations: arguments.iterations, largest: arguments.largest };
    let file = growth::run(&settings, &arguments.only, &arguments.page)?;
    say(format_args!("\n{}", file.display()));
    Ok(())
}
