//! What a small call costs through the guard and through other proxies, against nginx as a plain one.
//!
//! `cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches && target/release/versus`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use mcp_guard_benches::{Contest, Contestant, Fault, Footprint, Node, Proxy, Report, say};

/// Measures mcp-guard with all concerns on against plain proxies and against no proxy at all.
#[derive(Parser)]
struct Arguments {
    /// How many connections call at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32, 256])]
    connections: Vec<usize>,
    /// How many seconds each is called in a round
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// How many rounds count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A guard, as NAME=PROGRAM; may be given more than once [default: the one beside this program]
    #[arg(long = "guard", value_name = "NAME=PROGRAM", value_parser = named)]
    guards: Vec<(String, PathBuf)>,
    /// Another proxy, as NAME=PROGRAM; NAME begins with nginx, haproxy, envoy, agentgateway or mcp-proxy [default: those on PATH]
    #[arg(long = "peer", value_name = "NAME=PROGRAM", value_parser = named)]
    peers: Vec<(String, PathBuf)>,
    /// Each guard once more, sending one trace in ten to this collector (OTLP over gRPC); may be given more than once
    #[arg(long = "collector", value_name = "NAME=ADDRESS", value_parser = named_address)]
    collectors: Vec<(String, SocketAddr)>,
    /// Leave the others out, as for a profile
    #[arg(long)]
    alone: bool,
    /// Also offer half of nginx's peak at a fixed rate
    #[arg(long, conflicts_with = "footprint_only")]
    open_loop: bool,
    /// Where the page is written
    #[arg(long, value_name = "DIRECTORY", default_value = "target/versus")]
    page: PathBuf,
    /// Leave out what is measured once: memory, starts, sizes
    #[arg(long)]
    calls_only: bool,
    /// Leave out the rounds of calls
    #[arg(long, conflicts_with = "calls_only")]
    footprint_only: bool,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, program) = text.split_once('=').ok_or("NAME=PROGRAM")?;
    Ok((name.into(), program.into()))
}

fn named_address(text: &str) -> Result<(String, SocketAddr), String> {
    let (name, address) = text.split_once('=').ok_or("NAME=ADDRESS")?;
    Ok((name.into(), address.parse().map_err(|error| format!("{address}: {error}"))?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Fault> {
    let arguments = Arguments::parse();
    let node = Node::start()?.address();
    let proxies = proxies(&arguments)?;
    let mut report = Report::new("nginx");
    if !arguments.footprint_only {
        calls(&arguments, &proxies, node, &mut report).await?;
    }
    if !arguments.calls_only {
        let mut footprints = Vec::new();
        for proxy in &proxies {
            footprints.push(Footprint::measure(proxy, node).await?);
        }
        report.footprints(&footprints)?;
    }
    say(format_args!("\n{}", report.write(&arguments.page)?.display()));
    Ok(())
}

async fn calls(arguments: &Arguments, proxies: &[Proxy], node: SocketAddr, report: &mut Report) -> Result<(), Fault> {
    let mut contestants = Vec::new();
    if !arguments.alone {
        contestants.push(Contestant::new("direct", node));
    }
    for proxy in proxies {
        contestants.push(proxy.start(node)?);
    }
    let time = Duration::try_from_secs_f64(arguments.seconds)?;
    let contest = Contest { connections: arguments.connections.clone(), time, rounds: arguments.rounds };
    let outcome = contest.hold(&contestants).await?;
    report.calls(&outcome)?;
    if arguments.open_loop {
        report.open_loop(&outcome, &contestants, time, arguments.rounds).await?;
    }
    Ok(())
}

/// The peers that are there, and the guards.
fn proxies(arguments: &Arguments) -> Result<Vec<Proxy>, Fault> {
    let mut proxies = Vec::new();
    for name in Proxy::PEERS.into_iter().filter(|_| !arguments.alone) {
        // One that is given takes the place of one that is found.
        let is_given = arguments.peers.iter().any(|(given, _)| given.starts_with(name));
        match Proxy::installed(name) {
            _ if is_given => {}
            Some(proxy) => proxies.push(proxy),
            None => say(format_args!("{name} is not installed: left out")),
        }
    }
    for (name, program) in &arguments.peers {
        proxies
            .push(Proxy::peer(name, program).ok_or_else(|| format!("--peer {name}: not one of {:?}", Proxy::PEERS))?);
    }
    let beside = std::env::current_exe()?.with_file_name("mcp-guard");
    let mut guards: Vec<_> = arguments.guards.iter().map(|(name, program)| Proxy::guard(name, program)).collect();
    if guards.is_empty() {
        guards.push(Proxy::guard("mcp-guard", &beside));
    }
    for guard in guards {
        proxies.extend(arguments.collectors.iter().map(|(name, address)| guard.with_collector(name, *address)));
        proxies.push(guard);
    }
    Ok(proxies)
}
