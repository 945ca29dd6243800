//! How a node is run.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

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
}

impl StdioOptions {
    /// Runs `program` without arguments.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            grace: Duration::from_secs(5),
            memory: None,
            cpu_seconds: None,
            launcher: None,
        }
    }
}
