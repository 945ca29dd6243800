//! The command line.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use mcp_load::{LEGACY, Method, Phase, PlanSpec, Trust, Watch, Weighted};

/// Load for an MCP server over Streamable HTTP. Every answer is checked.
///
/// Exit code: 0 if there was a call and no failure, 1 if not, 2 for wrong arguments.
///
/// SIGINT or SIGTERM ends the run within a second, with its report; the second one at once, without.
#[derive(Debug, Parser)]
#[command(name = "mcp-load")]
pub(crate) struct Arguments {
    /// Where to: http://host:port/path or https://…
    url: String,
    /// Sessions that call [default: 1]
    #[arg(long, conflicts_with = "phases")]
    sessions: Option<u32>,
    /// How long [default: 10]
    #[arg(long, conflicts_with = "phases", value_parser = seconds)]
    seconds: Option<Duration>,
    /// Calls a second over all sessions, on a fixed schedule: an open loop. 0 calls nothing
    #[arg(long, conflicts_with = "phases")]
    rate: Option<u32>,
    /// A phase, instead of the three above; repeatable
    #[arg(long = "phase", value_name = "SESSIONS:SECONDS[:RATE]", value_parser = phase)]
    phases: Vec<Phase>,
    /// Sessions join and leave linearly over each phase, instead of at its beginning
    #[arg(long)]
    ramp: bool,
    /// More sessions, which hold an open GET stream for the whole run and call nothing
    #[arg(long, default_value_t = 0)]
    streams: u32,
    /// Calls after which a session ends
    #[arg(long)]
    calls: Option<NonZeroU32>,
    /// A new session takes the place of one that made its calls
    #[arg(long, requires = "calls")]
    renew: bool,
    /// A closed loop's pause between an answer and the next call, in milliseconds
    #[arg(long, default_value_t = 0)]
    think_ms: u64,
    /// How often a session of a closed loop is expected to call; corrects latencies [default: --think-ms]
    #[arg(long)]
    expected_interval_ms: Option<u64>,
    /// How long a call may take, in milliseconds
    #[arg(long, default_value_t = 30_000)]
    timeout_ms: u64,
    /// MCP's revision; 2026-07-28 has no sessions
    #[arg(long, default_value = LEGACY)]
    revision: String,
    /// What is called, with weights: the tool's name, ping, tools/list, … [default: the tool]
    #[arg(long, value_name = "METHOD=WEIGHT,…")]
    mix: Option<Weighted<String>>,
    /// The tool; it answers with the text that it is given
    #[arg(long, default_value = "echo")]
    tool: String,
    /// The tool's argument for the text
    #[arg(long, default_value = "text")]
    argument: String,
    /// Lengths of the text, with weights
    #[arg(long, value_name = "BYTES=WEIGHT,…", default_value = "300")]
    bytes: Weighted<usize>,
    /// h2: sessions share connections. By prior knowledge, or ALPN over TLS
    #[arg(long)]
    http2: bool,
    /// Connections of h2 [default: one a thread]
    #[arg(long, requires = "http2")]
    connections: Option<NonZeroU32>,
    /// For https: PEM file of the certificates to trust
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// For https: verify nothing
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Local addresses for connections, in turn
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',')]
    source: Vec<IpAddr>,
    /// Threads of the generator
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// A process to sample, or all of that name; repeatable
    #[arg(long, value_name = "NAME[=PID]")]
    watch: Vec<Watch>,
    /// Where to write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// No progress
    #[arg(long)]
    pub(crate) quiet: bool,
}

impl Arguments {
    /// Whether certificates are taken from anybody.
    pub(crate) fn verifies_nothing(&self) -> bool {
        self.insecure
    }

    /// The plan that they describe.
    pub(crate) fn plan(&self) -> Result<PlanSpec, String> {
        let mut spec = PlanSpec::new(&self.url);
        spec.phases = self.phases();
        spec.ramp = self.ramp;
        spec.streams = self.streams;
        spec.calls_max = self.calls;
        spec.renew = self.renew;
        spec.think_time = Duration::from_millis(self.think_ms);
        spec.expected_interval = self.expected_interval_ms.map(Duration::from_millis);
        spec.timeout = Duration::from_millis(self.timeout_ms);
        spec.revision.clone_from(&self.revision);
        if let Some(mix) = &self.mix {
            spec.mix = mix.clone().try_map(|name| method(name, &self.tool))?;
        }
        spec.tool.clone_from(&self.tool);
        spec.argument.clone_from(&self.argument);
        spec.payload_bytes = self.bytes.clone();
        let threads = u32::try_from(self.threads).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        spec.http2_connections = self.http2.then(|| self.connections.unwrap_or(threads));
        spec.trust = match &self.ca {
            Some(file) => Some(Trust::Ca(file.clone())),
            None => self.insecure.then_some(Trust::Anybody),
        };
        spec.sources.clone_from(&self.source);
        spec.threads = self.threads;
        spec.watch.clone_from(&self.watch);
        Ok(spec)
    }

    fn phases(&self) -> Vec<Phase> {
        if !self.phases.is_empty() {
            return self.phases.clone();
        }
        let length = self.seconds.unwrap_or(Duration::from_secs(10));
        vec![Phase { sessions: self.sessions.unwrap_or(1), length, rate: self.rate }]
    }
}

/// The method that an entry of the mix means.
fn method(name: String, tool: &str) -> Result<Method, String> {
    match name.as_str() {
        "tools/call" => Ok(Method::CallTool),
        name if name == tool => Ok(Method::CallTool),
        "ping" => Ok(Method::Other(name)),
        known if known.contains('/') => Ok(Method::Other(name)),
        _ => Err(format!("--mix: `{name}` is neither a method nor the tool `{tool}`")),
    }
}

fn phase(text: &str) -> Result<Phase, String> {
    let mut parts = text.split(':');
    let sessions = parts.next().and_then(|sessions| sessions.parse().ok()).ok_or("SESSIONS is no whole number")?;
    let length = seconds(parts.next().ok_or("SECONDS is missing")?)?;
    let rate = parts.next().map(str::parse).transpose().map_err(|_| "RATE is no whole number")?;
    if parts.next().is_some() {
        Err("more than SESSIONS:SECONDS:RATE".into())
    } else {
        Ok(Phase { sessions, length, rate })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &str) -> Result<PlanSpec, String> {
        let arguments = ["mcp-load", "http://localhost/mcp"].into_iter().chain(arguments.split_whitespace());
        Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?.plan()
    }

    #[test]
    fn phases_have_sessions_seconds_and_a_rate() {
        let spec = plan("--phase 0:1 --phase 1000:0.5:200").unwrap();
        let phase = |sessions, ms, rate| Phase { sessions, length: Duration::from_millis(ms), rate };
        assert_eq!(spec.phases, [phase(0, 1_000, None), phase(1_000, 500, Some(200))]);
        for wrong in ["1", "1:x", "x:1", "1:1:x", "1:1:1:1", "1:-1"] {
            assert!(plan(&format!("--phase {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mix_names_methods_and_the_tool() {
        let spec = plan("--tool say --mix say=8,tools/list=1,ping=1").unwrap();
        let names: Vec<_> = spec.mix.entries().map(Method::name).collect();
        assert_eq!(names, ["tools/call", "tools/list", "ping"]);
        assert!(plan("--tool say --mix echo=1").is_err_and(|error| error.contains("neither a method nor the tool")));
    }

    #[test]
    fn a_phase_excludes_the_short_form() {
        assert!(plan("--phase 1:1 --sessions 3").is_err());
        assert_eq!(plan("--sessions 3 --rate 9").unwrap().phases[0].rate, Some(9));
    }

    #[test]
    fn a_watch_is_a_name_or_a_name_with_an_id() {
        let spec = plan("--watch node --watch guard=7").unwrap();
        assert_eq!((spec.watch[0].pid, spec.watch[1].pid), (None, Some(7)));
        assert!(plan("--watch guard=x").is_err());
    }
}
