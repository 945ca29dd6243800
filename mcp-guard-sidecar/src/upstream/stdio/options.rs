//! How a node is run.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use mcp_guard::session::Profile;

/// How a node is run. [`StdioOptions::new`] has the defaults.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StdioOptions {
    /// The program: a path, or a name that is looked up in `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables beside those that the guard itself was started with.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directory; default: the guard's own.
    pub directory: Option<PathBuf>,
    /// Most children at once, also those that are starting or ending; default 128. At the bound new sessions are
    /// refused with `too_many_sessions`.
    pub children_max: NonZeroUsize,
    /// How long a child may take to answer `initialize`; default 10 s.
    pub start_timeout: Duration,
    /// How long the child of a probe may take to answer a ping; default 1 s.
    pub ping_timeout: Duration,
    /// How long an answer of a child shows that the node is well, so that no probe starts another; default 60 s.
    pub speaks_for: Duration,
    /// How long a call may wait for the first message of its answer, where the request has no deadline; default 30 s.
    pub first_byte: Duration,
    /// How long a session may be silent; default 1 h.
    pub session_idle: Duration,
    /// From SIGTERM to SIGKILL; default 5 s.
    pub grace: Duration,
    /// Most bytes of memory that a child may write to; default: no limit. Needs `launcher`.
    pub memory: Option<u64>,
    /// Most CPU time of a child in seconds; default: no limit. Needs `launcher`.
    pub cpu_seconds: Option<u64>,
    /// The `mcp-guard` binary (`/proc/self/exe` where that is what runs), by whose `exec-node` children are started.
    /// Without it children outlive a guard that is killed, unless they end with their input; what children started does so
    /// with it too.
    pub launcher: Option<PathBuf>,
    /// Which known quirks the node has.
    pub profile: Profile,
}

impl StdioOptions {
    /// Runs `program` without arguments.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            children_max: NonZeroUsize::MIN.saturating_add(127),
            start_timeout: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(1),
            speaks_for: Duration::from_secs(60),
            first_byte: Duration::from_secs(30),
            session_idle: Duration::from_secs(3600),
            grace: Duration::from_secs(5),
            memory: None,
            cpu_seconds: None,
            launcher: None,
            profile: Profile::Standard,
        }
    }
}
