//! The measurement behind ADR 0001: what hosting a proxy costs in each of five ways, one JSON-RPC parse a call.
//!
//! `cargo build --release -p mcp-guard-benches --features hosts && target/release/hosts`

mod hyper_only;
mod kind;
mod phases;
mod service;
mod sessions;
mod streams;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::{Parser, Subcommand};
use mcp_guard_benches::{Contest, Contestant, Fault, Node, Process, Proxy, free_address, print, say};

use kind::Kind;

/// Measures ways to host a proxy against nginx as a plain one.
#[derive(Parser)]
struct Arguments {
    /// How many connections call at once
    #[arg(long, value_delimiter = ',', default_values_t = [32, 256])]
    connections: Vec<usize>,
    /// How long each is called in a round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How many rounds count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[command(subcommand)]
    command: Option<Serve>,
}

#[derive(Subcommand)]
enum Serve {
    /// Be one of the hosts; for this program's own use
    #[command(hide = true)]
    Serve { kind: Kind, address: SocketAddr, node: SocketAddr },
}

fn main() -> Result<(), Fault> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Serve::Serve { kind, address, node }) => kind.serve(address, node),
        None => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(&arguments)),
    }
}

async fn measure(arguments: &Arguments) -> Result<(), Fault> {
    let node = Node::start()?;
    let mut contestants = Vec::new();
    match Proxy::installed("nginx") {
        Some(nginx) => contestants.push(nginx.start(node.address())?),
        None => say(format_args!("nginx is not installed: no ratios")),
    }
    for kind in Kind::ALL {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg(kind.as_str()).arg(address.to_string()).arg(node.address().to_string());
        let process = Process::start(command.stdout(Stdio::null()), address)?;
        contestants.push(Contestant::new(kind.as_str(), address).of(process));
    }
    let time = Duration::from_secs(arguments.seconds);
    let contest = Contest { connections: arguments.connections.clone(), time, rounds: arguments.rounds };
    print(&contest.hold(&contestants).await?, "nginx");
    Ok(())
}
