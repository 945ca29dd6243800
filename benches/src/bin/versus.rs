//! What a small call costs through the guard, against nginx as a plain proxy.
//!
//! `cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches && target/release/versus`

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use mcp_guard_benches::{Contest, Contestant, Fault, Guard, Nginx, Node, print, say};

/// Measures mcp-guard with all concerns on against nginx and against no proxy at all.
#[derive(Parser)]
struct Arguments {
    /// How many connections call at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 256])]
    connections: Vec<usize>,
    /// How long each is called in a round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How many rounds count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A guard, as NAME=PROGRAM; may be given more than once [default: the one beside this program]
    #[arg(long = "guard", value_name = "NAME=PROGRAM", value_parser = guard)]
    guards: Vec<(String, PathBuf)>,
    /// Leave the others out, as for a profile
    #[arg(long)]
    alone: bool,
}

fn guard(text: &str) -> Result<(String, PathBuf), String> {
    let (name, program) = text.split_once('=').ok_or("NAME=PROGRAM")?;
    Ok((name.into(), program.into()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fault> {
    let mut arguments = Arguments::parse();
    let node = Node::start()?;
    let mut contestants = Vec::new();
    if !arguments.alone {
        contestants.push(Contestant::new("direct", node.address()));
        match Nginx::start(node.address())? {
            Some(nginx) => contestants.push(nginx),
            None => say(format_args!("nginx is not installed: no ratios")),
        }
    }
    if arguments.guards.is_empty() {
        arguments.guards.push(("mcp-guard".into(), std::env::current_exe()?.with_file_name("mcp-guard")));
    }
    for (name, program) in &arguments.guards {
        contestants.push(Guard::start(name, program, node.address())?);
    }
    let time = Duration::from_secs(arguments.seconds);
    let contest = Contest { connections: arguments.connections, time, rounds: arguments.rounds };
    print(&contest.hold(&contestants).await?, "nginx");
    Ok(())
}
