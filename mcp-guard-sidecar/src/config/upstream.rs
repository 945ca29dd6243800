//! The node that is guarded, and how it is reached.

use std::num::NonZeroUsize;

use mcp_guard::session::Profile;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use thiserror::Error;

use super::era::Era;
use super::process::Process;
use super::sessions::{Failover, Sessions};
use super::timing::{Health, Timeouts};
use super::tls::UpstreamTls;
use super::url::{InvalidUrl, NodeUrl};

/// The node that is guarded, and how it is reached.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "UpstreamSpec", into = "UpstreamSpec")]
#[schemars(with = "UpstreamSpec")]
#[non_exhaustive]
pub struct Upstream {
    /// What is called.
    pub target: Target,
    /// Which revisions the node speaks.
    pub era: Era,
    /// Which known quirks the node has.
    pub profile: Profile,
    /// What becomes of the guard's own sessions with it.
    pub sessions: Sessions,
    /// How it is called over TLS; nothing but defaults where it is not.
    pub tls: UpstreamTls,
    /// Most connections to the node for calls at once; streams that only listen may have as many again. Where a session
    /// has a connection of its own, most sessions. Has no meaning for stdio.
    pub connections: NonZeroUsize,
    /// How long its steps may take.
    pub timeouts: Timeouts,
    /// When it is sent calls at all.
    pub health: Health,
}

impl Upstream {
    /// Whether sessions outlive their node.
    pub fn fails_over(&self) -> bool {
        self.sessions.failover.map_or(!self.target.is_http(), |failover| failover == Failover::Reinitialize)
    }
}

/// What is called.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// Servers that listen, at least one, all of one scheme and each another; each can stand in for the others.
    Urls(Vec<NodeUrl>),
    /// A program that speaks on its standard input and output, one child a session.
    Stdio {
        /// The program, and its arguments.
        command: Command,
        /// How its processes are run.
        process: Process,
    },
}

/// A program and its arguments: at least the program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Command {
    words: Vec<String>,
}

impl Command {
    /// The program: a path, or a name that is looked up in `PATH`.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", |word| word)
    }

    /// The arguments.
    pub fn arguments(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }
}

impl Target {
    /// Whether it speaks Streamable HTTP.
    pub fn is_http(&self) -> bool {
        matches!(self, Self::Urls(urls) if matches!(urls.as_slice(), [NodeUrl::Http(_), ..]))
    }

    /// Whether nodes of `other` can take the place of these in a guard that runs: they are called in the same way.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Urls(one), Self::Urls(other)) => match (one.first(), other.first()) {
                (Some(one), Some(other)) => std::mem::discriminant(one) == std::mem::discriminant(other),
                _ => false,
            },
            (Self::Stdio { .. }, Self::Stdio { .. }) => true,
            (Self::Urls(_), Self::Stdio { .. }) | (Self::Stdio { .. }, Self::Urls(_)) => false,
        }
    }

    fn is_secure(&self) -> bool {
        matches!(self, Self::Urls(urls) if urls.iter().any(NodeUrl::is_secure))
    }
}

/// The node that is guarded: exactly one of `url`, `urls` and `command`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Upstream", extend("oneOf" = [{"required": ["url"]}, {"required": ["urls"]}, {"required": ["command"]}]))]
struct UpstreamSpec {
    /// A server that listens: Streamable HTTP at `http://HOST[:PORT][/PATH]`, the HTTP with server-sent events of
    /// 2024-11-05 at `sse+http://HOST[:PORT]/PATH`, WebSocket at `ws://HOST[:PORT][/PATH]`, each over TLS as `https`,
    /// `sse+https` and `wss`; JSON lines at `tcp://HOST:PORT` or on the socket `unix:/PATH`.
    #[serde(default, deserialize_with = "node_url", skip_serializing_if = "Option::is_none")]
    url: Option<NodeUrl>,
    /// Several such servers that can stand in for each other, all of one scheme. A new session, or a call without one, goes
    /// to the one of two drawn at random that has less to do; a session stays where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    urls: Option<Vec<NodeUrl>>,
    /// A program that speaks on its standard input and output, and its arguments; one child for each session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    command: Option<Vec<String>>,
    /// How the children are run; only beside `command`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
    /// Which revisions of MCP the node speaks; clients of the others are served by translation.
    #[serde(default)]
    era: Era,
    /// Which known quirks the node has.
    #[serde(default)]
    profile: Profile,
    /// TLS to the node; only beside an `https`, `sse+https` or `wss` URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tls: Option<UpstreamTls>,
    /// What becomes of sessions when their node is gone.
    #[serde(default)]
    sessions: Sessions,
    /// Most connections to the node for calls at once; streams that only listen may have as many again. Where all are in
    /// use, a request waits for one as long as `timeouts.connect`, anything else as long as `timeouts.first_byte`. With
    /// `sse+http`, `ws`, `tcp` and `unix` each session has a connection of its own, and where all are in use, no session is
    /// opened. Has no meaning beside `command`.
    #[serde(default = "connections")]
    connections: NonZeroUsize,
    /// How long its steps may take.
    #[serde(default)]
    timeouts: Timeouts,
    /// When it is sent calls at all.
    #[serde(default)]
    health: Health,
}

/// A URL; where it is none that is allowed, the other way to name a node is told too.
fn node_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NodeUrl>, D::Error> {
    let url = String::deserialize(deserializer)?.parse().map_err(|error: InvalidUrl| {
        de::Error::custom(format_args!("{error}, or in place of url, command: [PROGRAM, ARGUMENT, ...]"))
    })?;
    Ok(Some(url))
}

fn connections() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(255)
}

/// An upstream that cannot be meant.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidUpstream {
    /// Two kinds of node in one.
    #[error(
        "more than one of url, urls and command is here: write exactly one, url: URL, urls: [URL, ...] or command: [PROGRAM, ARGUMENT, ...]; URL is {ALLOWED}",
        ALLOWED = NodeUrl::ALLOWED
    )]
    SeveralTargets,
    /// No node at all.
    #[error(
        "none of url, urls and command is here: write exactly one, url: URL, urls: [URL, ...] or command: [PROGRAM, ARGUMENT, ...]; URL is {ALLOWED}",
        ALLOWED = NodeUrl::ALLOWED
    )]
    NoTarget,
    /// Several nodes, and none.
    #[error("urls is empty: write [URL, ...]; URL is {ALLOWED}", ALLOWED = NodeUrl::ALLOWED)]
    NoUrls,
    /// Several nodes that cannot stand in for each other.
    #[error("urls[{0}] has another scheme than urls[0]: nodes that stand in for each other speak the same")]
    SchemesDiffer(usize),
    /// The same node twice.
    #[error("urls[{0}] is there already: write each node once")]
    UrlTwice(usize),
    /// There is no child to run.
    #[error("process is for a node that the guard runs: write it beside command, not beside url")]
    ProcessOfUrl,
    /// Nothing to be secure.
    #[error("tls is for a node that is called over TLS: write it beside an https, sse+https or wss URL")]
    TlsOfNothing,
    /// Only Streamable HTTP has a stateless form that the guard speaks.
    #[error("era: stateless is for a node behind an http URL: leave it out, or write legacy")]
    StatelessConnection,
    /// Nothing to run.
    #[error("command names no program: write [PROGRAM, ARGUMENT, ...]")]
    NoProgram,
    /// Nothing can be given such a text.
    #[error("command has a NUL character: no argument can hold one")]
    NulInCommand,
}

impl TryFrom<UpstreamSpec> for Upstream {
    type Error = InvalidUpstream;

    fn try_from(spec: UpstreamSpec) -> Result<Self, InvalidUpstream> {
        let target = match (spec.url, spec.urls, spec.command, spec.process) {
            (None, None, None, _) => return Err(InvalidUpstream::NoTarget),
            (Some(_), None, None, Some(_)) | (None, Some(_), None, Some(_)) => {
                return Err(InvalidUpstream::ProcessOfUrl);
            }
            (Some(url), None, None, None) => Target::Urls(vec![url]),
            (None, Some(urls), None, None) => Target::Urls(nodes(urls)?),
            (None, None, Some(words), process) => {
                Target::Stdio { command: command(words)?, process: process.unwrap_or_default() }
            }
            _ => return Err(InvalidUpstream::SeveralTargets),
        };
        let UpstreamSpec { era, profile, sessions, tls, connections, timeouts, health, .. } = spec;
        if tls.is_some() && !target.is_secure() {
            return Err(InvalidUpstream::TlsOfNothing);
        }
        if era == Era::Stateless && !target.is_http() {
            return Err(InvalidUpstream::StatelessConnection);
        }
        Ok(Self { target, era, profile, sessions, tls: tls.unwrap_or_default(), connections, timeouts, health })
    }
}

/// Nodes that can stand in for each other.
fn nodes(urls: Vec<NodeUrl>) -> Result<Vec<NodeUrl>, InvalidUpstream> {
    let first = urls.first().ok_or(InvalidUpstream::NoUrls)?;
    for (index, url) in urls.iter().enumerate() {
        if !url.is_like(first) {
            return Err(InvalidUpstream::SchemesDiffer(index));
        }
        if urls.iter().take(index).any(|earlier| earlier == url) {
            return Err(InvalidUpstream::UrlTwice(index));
        }
    }
    Ok(urls)
}

fn command(words: Vec<String>) -> Result<Command, InvalidUpstream> {
    if words.first().is_none_or(String::is_empty) {
        return Err(InvalidUpstream::NoProgram);
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err(InvalidUpstream::NulInCommand);
    }
    Ok(Command { words })
}

impl From<Upstream> for UpstreamSpec {
    fn from(upstream: Upstream) -> Self {
        let Upstream { target, era, profile, sessions, tls, connections, timeouts, health } = upstream;
        let tls = target.is_secure().then_some(tls);
        let (urls, command, process) = match target {
            Target::Urls(urls) => (Some(urls), None, None),
            Target::Stdio { command, process } => (None, Some(command.words), Some(process)),
        };
        let (url, urls) = match urls {
            Some(mut urls) if urls.len() == 1 => (urls.pop(), None),
            urls => (None, urls),
        };
        Self { url, urls, command, process, era, profile, sessions, tls, connections, timeouts, health }
    }
}
