//! What a seed means: which nodes there are, how the guard is set up, and what goes wrong.

use std::fmt::Write;
use std::time::Duration;

use fastrand::Rng;

/// How the nodes are spoken with, and whose the sessions are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// Streamable HTTP, with sessions of the nodes' own.
    Http,
    /// Streamable HTTP, with sessions of the guard's that outlive their nodes.
    HttpKept,
    /// JSON lines over TCP, a connection for each session of the guard's.
    Lines,
}

/// All that a run depends on.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    pub(crate) nodes: Vec<String>,
    pub(crate) clients: u8,
    /// How long things go wrong.
    pub(crate) chaos: Duration,
    /// Which share of messages a node answers badly meanwhile.
    pub(crate) lies: f64,
    /// How often something happens to a node or its network meanwhile, on average.
    pub(crate) blows_every: Duration,
    pub(crate) sessions_max: usize,
    pub(crate) connections_max: usize,
    pub(crate) concurrency: u32,
    pub(crate) waiting: u32,
    pub(crate) attempts: u32,
    pub(crate) is_trusting: bool,
    pub(crate) config: String,
}

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let rng = &mut Rng::with_seed(seed);
        let kind = [Kind::Http, Kind::HttpKept, Kind::Lines][rng.usize(..3)];
        let count = rng.usize(1..=3);
        let nodes: Vec<String> = (0..count).map(|number| format!("node-{number}:9000")).collect();
        let clients = rng.u8(3..=10);
        let mut plan = Self {
            seed,
            kind,
            nodes,
            clients,
            chaos: Duration::from_secs(rng.u64(5..=20)),
            lies: [0.0, 0.02, 0.1, 0.3][rng.usize(..4)],
            blows_every: Duration::from_millis(rng.u64(300..4_000)),
            // Each client has one; those that are left behind take the others' places for a while.
            sessions_max: usize::from(clients) + rng.usize(..4),
            connections_max: usize::from(clients) * 3 + rng.usize(..8),
            concurrency: rng.u32(2..=32),
            waiting: rng.u32(1..=32),
            attempts: rng.u32(1..=4),
            is_trusting: rng.bool(),
            config: String::new(),
        };
        plan.config = plan.config_text(rng);
        plan
    }

    fn config_text(&self, rng: &mut Rng) -> String {
        let scheme = if self.kind == Kind::Lines { "tcp://" } else { "http://" };
        let path = if self.kind == Kind::Lines { "" } else { "/mcp" };
        let urls: Vec<String> = self.nodes.iter().map(|node| format!("\"{scheme}{node}{path}\"")).collect();
        let url = match &*urls {
            [url] => format!("url: {url}"),
            urls => format!("urls: [{}]", urls.join(", ")),
        };
        let failover = match self.kind {
            Kind::Http => "off",
            Kind::HttpKept => "reinitialize",
            Kind::Lines if rng.bool() => "off",
            Kind::Lines => "reinitialize",
        };
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "version: 1
listeners: [{{address: 127.0.0.1:1, path: /mcp, proxy_protocol: true}}]
upstreams:
  - {url}
    era: legacy
    connections: 64
    sessions: {{failover: {failover}}}
    timeouts: {{connect: 1s, first_byte: 3s, idle: 20s, total: 8s}}
    health: {{interval: 1s, timeout: 500ms}}
guard:
  limits: {{body: 64KiB, response: 64KiB, connections: {connections}, connections_per_client: 6, sessions: {sessions},
           session_idle: 20s, header_timeout: 5s, body_timeout: 5s, keep_alive: 15s, memory: 64GiB}}
  queue: {{concurrency: {concurrency}, adaptive: {adaptive}, waiting: {waiting}, max_wait: 1s}}
  breaker: {{consecutive_failures: {failures}, open: 2s}}
  retry: {{attempts: {attempts}, budget: {budget}, trust_annotations: {trusting}}}
  rate_limits: [{{name: per-client, key: [client], rate: {rate}/s, burst: {burst}, keys_max: 16}}]
shutdown: {{drain: 20s, lame_duck: 0s}}",
            connections = self.connections_max,
            sessions = self.sessions_max,
            concurrency = self.concurrency,
            waiting = self.waiting,
            adaptive = rng.bool(),
            failures = rng.u32(3..10),
            attempts = self.attempts,
            budget = [0.2, 1.0][rng.usize(..2)],
            trusting = self.is_trusting,
            rate = rng.u32(20..200),
            burst = rng.u32(20..100),
        );
        text
    }
}
