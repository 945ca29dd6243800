//! The whole config.

use std::net::{IpAddr, SocketAddr};

use mcp_guard::config::GuardConfig;
use mcp_guard::rate_limit::KeyPart;
use mcp_guard::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::address::ListenAddress;
use super::key_path::KeyPath;
use super::listener::{Admin, Listener, McpPath, Transport};
use super::redact::redact;
use super::shutdown::Shutdown;
use super::telemetry::TelemetryConfig;
use super::upstream::{Target, Upstream};

/// Everything that the sidecar can be told. It is valid, also across its sections.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(into = "ConfigSpec")]
pub struct Config(ConfigSpec);

/// Config of mcp-guard. Durations are written as 250ms, 30s, 5m, 1h or 7d, sizes as 64KiB, 4MiB or 1GiB, rates as 50/s,
/// 600/m or 1000/h.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Config", extend("required" = ["upstreams"]))]
pub(super) struct ConfigSpec {
    /// The version of this format.
    #[serde(default)]
    version: Version,
    /// Where clients are served.
    #[serde(default = "one_listener")]
    #[schemars(length(min = 1))]
    listeners: Vec<Listener>,
    /// Where operators and probes are served.
    #[serde(default)]
    admin: Admin,
    /// The node that is guarded; exactly one in this build.
    // Its absence is told in full by `Config::new`, not by serde.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1))]
    upstreams: Vec<Upstream>,
    /// What the guard allows.
    #[serde(default)]
    guard: GuardConfig,
    /// How the guard ends.
    #[serde(default)]
    shutdown: Shutdown,
    /// What the guard tells about itself.
    #[serde(default)]
    telemetry: TelemetryConfig,
}

fn one_listener() -> Vec<Listener> {
    vec![Listener::default()]
}

/// The version of the config format; 1 is the only one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "Value", into = "u64")]
#[schemars(with = "u64", extend("const" = 1))]
pub struct Version;

/// A version of the config format that this build does not know.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0} is no version of the config that this build knows: write 1")]
pub struct InvalidVersion(Value);

impl TryFrom<Value> for Version {
    type Error = InvalidVersion;

    fn try_from(version: Value) -> Result<Self, InvalidVersion> {
        if version == 1 { Ok(Self) } else { Err(InvalidVersion(version)) }
    }
}

impl From<Version> for u64 {
    fn from(_: Version) -> Self {
        1
    }
}

impl Config {
    /// Joins sections that are valid each by itself. Errors name the keys that do not go together.
    pub(super) fn new(spec: ConfigSpec) -> Result<Self, Vec<(KeyPath, String)>> {
        let mut problems = Vec::new();
        problems.extend(listener_problems(&spec));
        problems.extend(upstream_problem(&spec.upstreams));
        problems.extend(start_problems(&spec.upstreams));
        problems.extend(cost_problems(&spec.guard));
        problems.extend(subject_problems(&spec));
        if problems.is_empty() { Ok(Self(spec)) } else { Err(problems) }
    }

    /// Where clients are served: at least one, no two on one address.
    pub fn listeners(&self) -> &[Listener] {
        &self.0.listeners
    }

    /// Where operators and probes are served.
    pub fn admin(&self) -> &Admin {
        &self.0.admin
    }

    /// The nodes that are guarded: exactly one in this build.
    pub fn upstreams(&self) -> &[Upstream] {
        &self.0.upstreams
    }

    /// What the guard allows.
    pub fn guard(&self) -> &GuardConfig {
        &self.0.guard
    }

    /// How the guard ends.
    pub fn shutdown(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// What the guard tells about itself.
    pub fn telemetry(&self) -> &TelemetryConfig {
        &self.0.telemetry
    }

    /// Every key with its value, defaults too, secrets redacted: what `GET /config` shows.
    pub fn effective(&self) -> Value {
        // Nothing in a config fails to serialize; if it ever did, showing nothing is the safe answer.
        redact(serde_json::to_value(self).unwrap_or_default())
    }
}

impl From<Config> for ConfigSpec {
    fn from(config: Config) -> Self {
        config.0
    }
}

fn listener_problems(spec: &ConfigSpec) -> Vec<(KeyPath, String)> {
    let list = KeyPath::root().key("listeners");
    if spec.listeners.is_empty() {
        return vec![(list, "is empty: write at least one, or leave the key out for 127.0.0.1:8080".into())];
    }
    let mut problems = Vec::new();
    let mut taken: Vec<(ListenAddress, String)> = Vec::new();
    for (index, listener) in spec.listeners.iter().enumerate() {
        let path = list.index(index);
        problems.extend(door_problems(&path, listener));
        let path = path.key("address");
        problems.extend(taken_problem(&path, &listener.address, &taken));
        taken.push((listener.address.clone(), path.to_string()));
    }
    let admin = ListenAddress::from(spec.admin.address);
    problems.extend(taken_problem(&KeyPath::root().key("admin").key("address"), &admin, &taken));
    problems
}

/// Transports of one listener that are in each other's way.
fn door_problems(path: &KeyPath, listener: &Listener) -> Option<(KeyPath, String)> {
    let doors = [("sse_path", &listener.sse_path), ("web_socket_path", &listener.web_socket_path)];
    let mut doors = doors.into_iter().filter_map(|(key, door)| Some((key, door.as_ref()?)));
    let first = doors.next()?;
    let is_taken = |door: &McpPath| *door == listener.path;
    let what = "is the path of something else at this listener: write another";
    match doors.next() {
        _ if listener.transport == Transport::Lines => {
            Some((path.key(first.0), "is for HTTP, and lines have no paths: leave it out".into()))
        }
        _ if is_taken(first.1) => Some((path.key(first.0), what.into())),
        Some((key, door)) if door == first.1 || is_taken(door) => Some((path.key(key), what.into())),
        _ => None,
    }
}

fn taken_problem(
    path: &KeyPath,
    address: &ListenAddress,
    taken: &[(ListenAddress, String)],
) -> Option<(KeyPath, String)> {
    let is_taken = |other: &ListenAddress| match (address, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => overlap(*one, *other),
        (one, other) => one == other,
    };
    let (_, by) = taken.iter().find(|(other, _)| is_taken(other))?;
    let another = if matches!(address, ListenAddress::Tcp(_)) { "port" } else { "path" };
    Some((path.clone(), format!("{address} is taken by {by}: write another {another}")))
}

/// Whether two sockets cannot both listen. Port 0 means any free port; `[::]` takes the IPv4 addresses too.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let takes = |wide: IpAddr, narrow: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
    let is_same = one.ip() == other.ip() || takes(one.ip(), other.ip()) || takes(other.ip(), one.ip());
    is_same && one.port() == other.port() && one.port() != 0
}

/// Children that have longer to start than any call may take, `initialize` among them.
fn start_problems(upstreams: &[Upstream]) -> Vec<(KeyPath, String)> {
    let mut problems = Vec::new();
    for (index, upstream) in upstreams.iter().enumerate() {
        let Target::Stdio { process, .. } = &upstream.target else { continue };
        let first_byte = upstream.timeouts.first_byte();
        if let Some(start) = process.start_timeout().filter(|start| *start > first_byte) {
            let path = KeyPath::root().key("upstreams").index(index).key("process").key("start_timeout");
            let (start, first_byte) = (Span(start), Span(first_byte));
            let what = format!(
                "is {start}, longer than timeouts.first_byte, which ends the call before: at most {first_byte} is allowed"
            );
            problems.push((path, what));
        }
    }
    problems
}

/// Tools whose calls cost more than a rate limit ever allows, each by itself.
fn cost_problems(guard: &GuardConfig) -> Vec<(KeyPath, String)> {
    let path = |index| KeyPath::root().key("guard").key("tools").index(index).key("cost");
    let checks = guard.tools.iter().map(|tool| guard.rate_limits.check_costs(std::slice::from_ref(tool))).enumerate();
    checks.filter_map(|(index, check)| Some((path(index), check.err()?.to_string()))).collect()
}

/// Rules on who calls, where listeners don't ask: callers that no certificate names share one allowance.
fn subject_problems(spec: &ConfigSpec) -> Vec<(KeyPath, String)> {
    let asks = |listener: &Listener| listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let silent = spec.listeners.iter().position(|listener| !asks(listener));
    let mut problems = Vec::new();
    for (index, rule) in spec.guard.rate_limits.as_slice().iter().enumerate() {
        let path = KeyPath::root().key("guard").key("rate_limits").index(index);
        let tells_apart = rule.key().iter().any(|part| matches!(part, KeyPart::Client | KeyPart::Session));
        if let Some(place) = rule.key().iter().position(|part| *part == KeyPart::Subject)
            && let Some(listener) = silent
            && (!tells_apart || !spec.listeners.iter().any(asks))
        {
            let what = format!(
                "subject is who a client's certificate names, and listeners[{listener}] does not ask for one, so that all its callers would share one allowance: \
                 write client or session beside it or in its place, or tls.client_ca at each listener"
            );
            problems.push((path.key("key").index(place), what));
        }
        if rule.call_match().subject.is_some() && !spec.listeners.iter().any(asks) {
            let what = "is who a client's certificate names, and no listener asks for one: leave it out, or write tls.client_ca at a listener";
            problems.push((path.key("match").key("subject"), what.into()));
        }
    }
    problems
}

fn upstream_problem(upstreams: &[Upstream]) -> Option<(KeyPath, String)> {
    let path = KeyPath::root().key("upstreams");
    match upstreams {
        [_] => None,
        [] => Some((
            path,
            "is missing or empty: write one node, upstreams: [{url: http://HOST:PORT/PATH}] or [{command: [PROGRAM, ...]}]; \
             `run` takes --upstream URL or -- COMMAND too"
                .into(),
        )),
        [..] => Some((
            path.index(1),
            "a second upstream is not supported by this build yet: write one, and run one guard for each node".into(),
        )),
    }
}
