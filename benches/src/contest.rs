//! Interleaved rounds: each proxy in turn, again and again, so that whatever disturbs the machine disturbs all.

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;

use crate::client::Target;
use crate::load::Load;
use crate::proc::{Cpu, machine_cpu, own_cpu};
use crate::stats::quantile;
use crate::{Fault, Process, say};

/// Somebody who takes calls.
#[derive(Debug)]
pub struct Contestant {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) process: Option<Process>,
    // Dropped after the process that uses it.
    directory: Option<TempDir>,
}

impl Contestant {
    /// Whoever listens at `address`.
    pub fn new(name: &str, address: SocketAddr) -> Self {
        Self { name: name.into(), target: Target::new(address), process: None, directory: None }
    }

    /// Runs as `process`, whose CPU time counts.
    #[must_use]
    pub fn of(mut self, process: Process) -> Self {
        self.process = Some(process);
        self
    }

    /// Keeps its files in `directory`.
    #[must_use]
    pub fn in_directory(mut self, directory: TempDir) -> Self {
        self.directory = Some(directory);
        self
    }

    /// Calls the tool by another name, and reads answers that are like the node's.
    #[must_use]
    pub fn with_tool(mut self, tool: &'static str) -> Self {
        self.target.tool = tool;
        self
    }

    /// Speaks MCP under another path than `/mcp`.
    #[must_use]
    pub(crate) fn with_path(mut self, path: &'static str) -> Self {
        self.target.path = path;
        self
    }

    fn cpu(&self) -> Cpu {
        self.process.as_ref().map(Process::cpu).unwrap_or_default()
    }
}

/// How the contest is held.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the binaries")]
pub struct Contest {
    /// How many connections call at once, one table for each.
    pub connections: Vec<usize>,
    /// How long each is called in a round.
    pub time: Duration,
    /// How many rounds count.
    pub rounds: usize,
}

/// What one contestant did in one round.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// Microseconds of the proxy's CPU time for a call.
    pub(crate) cpu_micros: f64,
    /// How many of them were not spent in the kernel.
    pub(crate) user_micros: f64,
    pub(crate) calls_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    /// The share of the machine that others used meanwhile.
    pub(crate) others: f64,
}

impl Round {
    /// Seconds of the proxy's CPU time for 100,000 calls.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.cpu_micros / 10.0
    }

    /// How many of them were not spent in the kernel.
    pub(crate) fn user_seconds(&self) -> f64 {
        self.user_micros / 10.0
    }
}

/// What all did: by number of connections, by contestant, by round.
#[derive(Debug)]
pub struct Outcome {
    pub(crate) names: Vec<String>,
    pub(crate) by_connections: Vec<(usize, Vec<Vec<Round>>)>,
}

impl Contest {
    /// Lets all take their turns.
    ///
    /// # Errors
    ///
    /// If any answer of anybody is not what it has to be.
    pub async fn hold(&self, contestants: &[Contestant]) -> Result<Outcome, Fault> {
        for contestant in contestants {
            turn(contestant, 32, self.time / 2).await?;
        }
        let empty = || vec![Vec::with_capacity(self.rounds); contestants.len()];
        let mut by_connections: Vec<_> = self.connections.iter().map(|count| (*count, empty())).collect();
        for round in 0..self.rounds {
            for (connections, results) in &mut by_connections {
                // Nobody always comes first, or always after the same.
                for place in 0..contestants.len() {
                    let index = (place + round) % contestants.len();
                    let (Some(contestant), Some(rounds)) = (contestants.get(index), results.get_mut(index)) else {
                        continue;
                    };
                    rounds.push(turn(contestant, *connections, self.time).await?);
                }
            }
            say(format_args!("round {} of {}", round + 1, self.rounds));
        }
        Ok(Outcome { names: contestants.iter().map(|contestant| contestant.name.clone()).collect(), by_connections })
    }
}

async fn turn(contestant: &Contestant, connections: usize, time: Duration) -> Result<Round, Fault> {
    let fault = |fault: Fault| format!("{} with {connections} connections: {fault}", contestant.name);
    let load = Load::open(contestant.target, connections).await.map_err(fault)?;
    let (proxy, ours, all) = (contestant.cpu(), own_cpu(), machine_cpu());
    let mut called = load.call_for(time).await.map_err(fault)?;
    let (proxy, ours, all) = (contestant.cpu() - proxy, own_cpu() - ours, machine_cpu() - all);
    called.micros.sort_unstable();
    let calls = called.micros.len() as f64;
    let at = |share| quantile(&called.micros, share).map_or(f64::NAN, |micros| f64::from(micros) / 1e3);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as f64;
    Ok(Round {
        cpu_micros: proxy.all().as_secs_f64() * 1e6 / calls,
        user_micros: proxy.user.as_secs_f64() * 1e6 / calls,
        calls_per_second: calls / called.time.as_secs_f64(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        others: all.saturating_sub(proxy.all() + ours).as_secs_f64() / (called.time.as_secs_f64() * cores),
    })
}
