//! So many MCP sessions at once, each with a connection of its own, or with an open stream: opened, held while calls flow,
//! and let go; then all at once.
//!
//! `cargo build --release -p mcp-guard-sidecar -p mcp-guard-benches -p mcp-load && target/release/crowd`
//!
//! A process may hold a bounded number of files, so there are several guards on one port, and several generators; for
//! streams, which have a connection to the node each, several nodes too.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Parser;
use mcp_guard_benches::{Fault, Node, Process, free_address, say};
use serde::Deserialize;

/// Opens many sessions through several guards on one port.
#[derive(Parser)]
struct Arguments {
    /// Sessions in all
    #[arg(long, default_value_t = 100_000)]
    sessions: u32,
    /// Sessions of one process, guard or generator, below its limit of open files; default: 16700, with streams 6200
    #[arg(long)]
    per_process: Option<u32>,
    /// Each session holds an open stream, and a few others call
    #[arg(long, conflicts_with = "spike")]
    streams: bool,
    /// Seconds in which they are opened
    #[arg(long, default_value_t = 120)]
    open_seconds: u32,
    /// Seconds for which they are held while calls flow
    #[arg(long, default_value_t = 20)]
    hold_seconds: u32,
    /// Then open them all at once, too
    #[arg(long)]
    spike: bool,
    /// Calls a second meanwhile, over all of them
    #[arg(long, default_value_t = 3_000)]
    rate: u32,
    /// Be a node, and measure nothing
    #[arg(long)]
    node: Option<SocketAddr>,
}

/// Sessions of a process that call while the others listen.
const CALLERS: u32 = 4;

fn main() -> Result<(), Fault> {
    let arguments = Arguments::parse();
    if let Some(address) = arguments.node {
        Node::start_at(address)?;
        loop {
            std::thread::park();
        }
    }
    let folder = tempfile::tempdir()?;
    let address = free_address()?;
    let per_process = arguments.per_process.unwrap_or(if arguments.streams { 6_200 } else { 16_700 });
    let processes = arguments.sessions.div_ceil(per_process);
    let nodes = (0..if arguments.streams { processes } else { 1 }).map(|_| node());
    let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
    // A stream has one to itself.
    let connections = if arguments.streams { per_process } else { 256 };
    let of_nodes = nodes.iter().map(|(_, address)| (*address, connections)).cycle();
    let guards = (0..processes).zip(of_nodes).map(|(number, node)| guard(number, folder.path(), address, node));
    let guards = guards.collect::<Result<Vec<_>, _>>()?;
    println!("{processes} guards on one port, {} MiB at rest (PSS)", mib(&guards));
    let Arguments { open_seconds, hold_seconds, rate, .. } = arguments;
    let share = arguments.sessions.div_ceil(processes);
    let rate = rate.div_ceil(processes);
    // Opened one after the other, held, let go; then the same at once.
    let slowly = format!(
        "--ramp --phase {share}:{open_seconds}:0 --phase {share}:{hold_seconds}:{rate} --phase 0:{open_seconds}:0"
    );
    let at_once = format!("--phase {share}:{open_seconds}:0 --phase {share}:{hold_seconds}:{rate} --phase 0:5:0");
    let listening = format!(
        "--streams {share} --phase {CALLERS}:{open_seconds}:0 --phase {CALLERS}:{hold_seconds}:{rate} --phase 0:1:0"
    );
    let plans = match arguments {
        Arguments { streams: true, .. } => vec![("with streams", listening)],
        Arguments { spike: true, .. } => vec![("slowly", slowly), ("at once", at_once)],
        Arguments { .. } => vec![("slowly", slowly)],
    };
    for (plan, (name, phases)) in plans.into_iter().enumerate() {
        say(format_args!("{share} sessions each, {name}"));
        let loads = (0..processes).map(|number| load(number, folder.path(), address, (plan, &phases)));
        let mut loads = loads.collect::<Result<Vec<_>, _>>()?;
        let most = watch(&mut loads, &guards)?;
        println!("\n{name}: the guards held {most} MiB at most, and {} MiB after it", mib(&guards));
        for number in 0..processes {
            println!("{}", line(&fs::read_to_string(report(folder.path(), number))?)?);
        }
    }
    Ok(())
}

/// A node in a process of its own.
fn node() -> Result<(Process, SocketAddr), Fault> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    Ok((Process::start(command.args(["--node", &address.to_string()]), address)?, address))
}

/// `node` is whom it calls, and over how many connections at most.
fn guard(number: u32, folder: &Path, address: SocketAddr, node: (SocketAddr, u32)) -> Result<Process, Fault> {
    let (node, connections) = node;
    let (admin, file) = (free_address()?, folder.join(format!("guard-{number}.yaml")));
    let config = format!(
        "version: 1
listeners: [{{address: \"{address}\", path: /mcp, share_port: true}}]
admin: {{address: \"{admin}\"}}
upstreams: [{{url: \"http://{node}/mcp\", connections: {connections}}}]
guard:
  limits: {{connections: 19000, connections_per_client: 19000, keep_alive: 10m, header_timeout: 1m}}
  rate_limits: []
  queue: {{waiting: 20000, max_wait: 30s}}
telemetry: {{logs: {{level: warn}}}}
"
    );
    fs::write(&file, config)?;
    Process::start(Command::new(beside("mcp-guard")?).arg("run").arg("-c").arg(file), admin)
}

fn load(number: u32, folder: &Path, address: SocketAddr, (plan, phases): (usize, &str)) -> Result<Child, Fault> {
    let mut command = Command::new(beside("mcp-load")?);
    command.arg(format!("http://{address}/mcp")).args(phases.split(' ')).arg("--quiet");
    // Each source address has some 28,000 ports, of which Linux finds the second half only by a search through the first;
    // and those of an earlier plan are not free for a minute.
    let sources = [2 * number + 2, 2 * number + 3].map(|last| format!("127.0.{plan}.{last}"));
    command.args(["--source", &sources.join(",")]).arg("--json").arg(report(folder, number));
    Ok(command.stdout(Stdio::null()).spawn()?)
}

fn beside(program: &str) -> Result<PathBuf, Fault> {
    Ok(std::env::current_exe()?.with_file_name(program))
}

fn report(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("load-{number}.json"))
}

/// Waits until all generators have ended, and says what the guards held at most meanwhile.
fn watch(loads: &mut [Child], guards: &[Process]) -> Result<u64, Fault> {
    let mut most = 0;
    loop {
        most = most.max(mib(guards));
        let mut are_over = true;
        for load in &mut *loads {
            are_over &= load.try_wait()?.is_some();
        }
        if are_over {
            return Ok(most);
        }
        mcp_guard_benches::pause(Duration::from_secs(1));
    }
}

fn mib(guards: &[Process]) -> u64 {
    guards.iter().map(Process::pss_kib).sum::<u64>() / 1024
}

/// What is shown of a generator's report.
#[derive(Deserialize)]
struct Report {
    total: Part,
    phases: Vec<Part>,
    sessions: Sessions,
    streams: Streams,
    failures: serde_json::Value,
}

#[derive(Deserialize)]
struct Part {
    calls: u64,
    calls_failed: u64,
    calls_unsent: u64,
    latency_us: Latency,
}

#[derive(Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
}

#[derive(Deserialize)]
struct Sessions {
    opened: u64,
    open_peak: u64,
    ended: u64,
    reconnects: u64,
}

#[derive(Deserialize)]
struct Streams {
    open_peak: u64,
    broken: u64,
}

fn line(report: &str) -> Result<String, Fault> {
    let Report { total, phases, sessions, streams, failures } = serde_json::from_str(report)?;
    let Sessions { opened, open_peak, ended, reconnects } = sessions;
    let held = phases.get(1).ok_or("no second phase")?;
    let (p50, p99) = (held.latency_us.p50 / 1e3, held.latency_us.p99 / 1e3);
    Ok(format!(
        "{opened} opened, {open_peak} open at a time, {ended} ended, {reconnects} reconnects; {} streams at a time, {} broken; {} calls, {} failed, {} unsent, p50 {p50:.1} ms, p99 {p99:.1} ms; failures {failures}",
        streams.open_peak, streams.broken, total.calls, total.calls_failed, total.calls_unsent
    ))
}
