//! What a run shall do.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use thiserror::Error;

use crate::schedule::{Phase, Schedule};
use crate::weighted::Weighted;

/// The newest revision with sessions, and the default.
pub const LEGACY: &str = "2025-11-25";
/// The revision without sessions.
pub const STATELESS: &str = "2026-07-28";
/// The most sessions of a phase, and the most idle streams.
pub const SESSIONS_MAX: u32 = 1_000_000;
/// The largest text of a call: 64 MiB.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 20;
/// The most phases: each keeps histograms of its own.
pub const PHASES_MAX: usize = 256;
/// The most threads.
pub const THREADS_MAX: usize = 256;

/// A plan as it is written down; [`build`](Self::build) checks it.
#[derive(Clone, Debug)]
pub struct PlanSpec {
    /// Where to: `http://host:port/path` or `https://…`.
    pub url: String,
    /// What happens, one phase after the other. Default: one session for ten seconds in a closed loop.
    pub phases: Vec<Phase>,
    /// Whether sessions join and leave linearly over a phase, instead of at its beginning. Default: no.
    pub ramp: bool,
    /// Sessions of their own that hold an open GET stream for the whole run and call nothing. Default: 0.
    pub streams: u32,
    /// Calls after which a session ends. Default: none, it ends with its phase.
    pub calls_max: Option<NonZeroU32>,
    /// Whether a new session takes the place of one that made `calls_max` calls. Default: no.
    pub renew: bool,
    /// A closed loop's pause between an answer and the next call, on a clock of milliseconds. Default: none.
    pub think_time: Duration,
    /// How often a session of a closed loop is expected to call. Latencies are corrected for the calls that a slow answer
    /// kept from being made. At least a millisecond. Default: the think time, if there is one.
    pub expected_interval: Option<Duration>,
    /// How long a call may take, with reconnecting. From a millisecond to ten minutes. Default: 30 seconds.
    pub timeout: Duration,
    /// MCP's revision: [`STATELESS`], or one with sessions, which the server may answer with another. Default: [`LEGACY`].
    pub revision: String,
    /// What is called, by weight. Default: the tool.
    pub mix: Weighted<Method>,
    /// The tool, which has to answer with the text that it is given. Default: `echo`.
    pub tool: String,
    /// The tool's argument for the text. Default: `text`.
    pub argument: String,
    /// Lengths of the text in bytes, by weight, from 20 (the token) to [`PAYLOAD_BYTES_MAX`]. Default: 300.
    pub payload_bytes: Weighted<usize>,
    /// HTTP/2 over this many shared connections, at least one a thread; by prior knowledge, or ALPN over TLS. Default:
    /// HTTP/1.1, with one connection for each session.
    pub http2_connections: Option<NonZeroU32>,
    /// For https: whom to trust. Default: nobody.
    pub trust: Option<Trust>,
    /// Local addresses for connections, in turn. Default: the system's choice.
    pub sources: Vec<IpAddr>,
    /// Threads with a runtime each. From 1, the default, to [`THREADS_MAX`].
    pub threads: usize,
    /// Processes to sample beside the run. Default: none.
    pub watch: Vec<Watch>,
}

/// Whose certificates are right.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Those that the certificates in this PEM file vouch for.
    Ca(PathBuf),
    /// All of them: nothing is verified.
    Anybody,
}

/// A process to sample, on Linux.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Watch {
    /// Its name in the report; without a `pid`, the exact name of the processes that are meant, as in `/proc/PID/comm`.
    pub name: String,
    /// This process alone, instead of all of that name, also those that start later.
    pub pid: Option<u32>,
}

/// `NAME=PID` or `NAME`.
impl FromStr for Watch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pid) = match text.split_once('=') {
            Some((name, pid)) => (name, Some(pid.parse().map_err(|_| format!("`{pid}` is no process id"))?)),
            None => (text, None),
        };
        if name.is_empty() { Err("no name".into()) } else { Ok(Self { name: name.into(), pid }) }
    }
}

/// What is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Method {
    /// `tools/call` of the plan's tool, with a text that has to come back.
    CallTool,
    /// Any other, without parameters: `ping`, `tools/list`. Its answer has to be an object.
    Other(String),
}

impl Method {
    /// Its name in JSON-RPC.
    pub fn name(&self) -> &str {
        match self {
            Self::CallTool => "tools/call",
            Self::Other(name) => name,
        }
    }
}

/// Why a plan cannot be carried out.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidPlan {
    /// The URL is none of http or https with a host.
    #[error("`{0}` is no URL of the form http://host:port/path")]
    Url(String),
    /// No phase, or none with a session or a stream.
    #[error("there is nothing to do: no phase, or no session and no stream")]
    Nothing,
    /// A number is out of its bounds.
    #[error("{what} must be from {min} to {max}")]
    Bounds {
        /// Which.
        what: &'static str,
        /// The lowest allowed.
        min: String,
        /// The highest allowed.
        max: String,
    },
    /// https without anything to verify certificates by.
    #[error("https needs a CA to trust")]
    Untrusted,
    /// The tool's name is none that MCP allows.
    #[error("a tool's name has 1 to 128 characters of A-Z a-z 0-9 _ . -, and a method's A-Z a-z 0-9 _ /")]
    Name,
    /// What revision 2026-07-28 does not have.
    #[error("revision 2026-07-28 has no {0}")]
    Stateless(&'static str),
}

/// A plan that can be carried out.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) spec: PlanSpec,
    pub(crate) uri: Uri,
    pub(crate) schedule: Schedule,
}

impl PlanSpec {
    /// The defaults, against `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            phases: vec![Phase { sessions: 1, length: Duration::from_secs(10), rate: None }],
            ramp: false,
            streams: 0,
            calls_max: None,
            renew: false,
            think_time: Duration::ZERO,
            expected_interval: None,
            timeout: Duration::from_secs(30),
            revision: LEGACY.into(),
            mix: Weighted::only(Method::CallTool),
            tool: "echo".into(),
            argument: "text".into(),
            payload_bytes: Weighted::only(300),
            http2_connections: None,
            trust: None,
            sources: Vec::new(),
            threads: 1,
            watch: Vec::new(),
        }
    }

    /// The plan.
    ///
    /// # Errors
    ///
    /// [`InvalidPlan`] says which part is out of which bounds, or does not go with which.
    pub fn build(self) -> Result<Plan, InvalidPlan> {
        let is_allowed = |uri: &Uri| uri.host().is_some() && [Some("http"), Some("https")].contains(&uri.scheme_str());
        let uri = self.url.parse().ok().filter(is_allowed).ok_or_else(|| InvalidPlan::Url(self.url.clone()))?;
        if self.phases.is_empty() || (self.streams == 0 && self.phases.iter().all(|phase| phase.sessions == 0)) {
            return Err(InvalidPlan::Nothing);
        }
        self.check_bounds()?;
        self.check_names()?;
        if uri.scheme() == Some(&Scheme::HTTPS) && self.trust.is_none() {
            return Err(InvalidPlan::Untrusted);
        }
        if self.revision == STATELESS {
            if self.streams > 0 {
                return Err(InvalidPlan::Stateless("streams by GET"));
            }
            if self.mix.entries().any(|method| method.name() == "ping") {
                return Err(InvalidPlan::Stateless("ping"));
            }
        }
        let schedule = Schedule::new(&self.phases, self.ramp);
        Ok(Plan { spec: self, uri, schedule })
    }
}

impl Plan {
    /// Whether there are no sessions.
    pub fn stateless(&self) -> bool {
        self.spec.revision == STATELESS
    }

    pub(crate) fn revision(&self) -> &str {
        &self.spec.revision
    }

    pub(crate) fn tool(&self) -> &str {
        &self.spec.tool
    }

    pub(crate) fn argument(&self) -> &str {
        &self.spec.argument
    }

    pub(crate) fn payload_bytes(&self) -> impl Iterator<Item = usize> + '_ {
        self.spec.payload_bytes.entries().copied()
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.uri.scheme() == Some(&Scheme::HTTPS)
    }

    /// What latencies of a closed loop are corrected by.
    pub(crate) fn correction(&self) -> Option<Duration> {
        let think = Some(self.spec.think_time).filter(|time| Duration::from_millis(1) <= *time);
        self.spec.expected_interval.or(think)
    }
}
