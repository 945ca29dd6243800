//! How the child processes of a stdio node are run.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mcp_guard::units::{ByteSize, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::secret::Secret;

/// How the child processes of a stdio node are run; what is written under `process`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "ProcessSpec", into = "ProcessSpec")]
#[schemars(with = "ProcessSpec")]
pub struct Process(ProcessSpec);

/// How the child processes of a stdio node are run.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "Process")]
struct ProcessSpec {
    /// Variables beside those that the guard itself was started with; the values are never shown.
    environment: BTreeMap<String, Secret>,
    /// The working directory; default: the guard's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
    /// Most children at once, one for each session.
    children: NonZeroUsize,
    /// How long a child may take until it answers its first message, at most `timeouts.first_byte`; default: 10s, or
    /// `timeouts.first_byte` if that is less.
    #[serde(skip_serializing_if = "Option::is_none")]
    start_timeout: Option<Span>,
    /// The most memory of one child; default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<ByteSize>,
    /// The most CPU time of one child, at least 1s; default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_time: Option<Span>,
}

/// Child processes that cannot be run as asked.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidProcess {
    /// A name that no environment can hold.
    #[error("environment has the name {0:?}: a name is not empty and has no `=` and no NUL")]
    Name(String),
    /// A value that no environment can hold.
    #[error("environment.{0} has a NUL character: no value can hold one")]
    Value(String),
    /// No child would ever be up.
    #[error("start_timeout is 0: must be longer")]
    StartTimeout,
    /// No program would run.
    #[error("memory is below {}: no program starts in that", ByteSize(MEMORY_BYTES_MIN))]
    Memory,
    /// The system counts whole seconds.
    #[error("cpu_time is below 1s: the system counts whole seconds")]
    CpuTime,
}

/// The least memory that may be set for a child: what a small program maps.
const MEMORY_BYTES_MIN: u64 = 1 << 20;

impl Default for ProcessSpec {
    fn default() -> Self {
        Self {
            environment: BTreeMap::new(),
            directory: None,
            children: NonZeroUsize::MIN.saturating_add(127),
            start_timeout: None,
            memory: None,
            cpu_time: None,
        }
    }
}

impl TryFrom<ProcessSpec> for Process {
    type Error = InvalidProcess;

    fn try_from(spec: ProcessSpec) -> Result<Self, InvalidProcess> {
        for (name, value) in &spec.environment {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(InvalidProcess::Name(name.clone()));
            }
            if value.expose().contains('\0') {
                return Err(InvalidProcess::Value(name.clone()));
            }
        }
        if spec.start_timeout.is_some_and(|time| time.0.is_zero()) {
            return Err(InvalidProcess::StartTimeout);
        }
        if spec.memory.is_some_and(|memory| memory.0 < MEMORY_BYTES_MIN) {
            return Err(InvalidProcess::Memory);
        }
        if spec.cpu_time.is_some_and(|time| time.0.as_secs() == 0) {
            return Err(InvalidProcess::CpuTime);
        }
        Ok(Self(spec))
    }
}

impl From<Process> for ProcessSpec {
    fn from(process: Process) -> Self {
        process.0
    }
}

impl Process {
    /// Variables beside the guard's own environment.
    pub fn environment(&self) -> &BTreeMap<String, Secret> {
        &self.0.environment
    }

    /// The working directory, if not the guard's own.
    pub fn directory(&self) -> Option<&Path> {
        self.0.directory.as_deref()
    }

    /// Most children at once.
    pub fn children_max(&self) -> NonZeroUsize {
        self.0.children
    }

    /// How long a child may take until it answers its first message, if that was said.
    pub fn start_timeout(&self) -> Option<Duration> {
        self.0.start_timeout.map(|time| time.0)
    }

    /// The most memory of one child in bytes, if limited.
    pub fn memory_bytes_max(&self) -> Option<u64> {
        self.0.memory.map(|memory| memory.0)
    }

    /// The most CPU time of one child in whole seconds, if limited.
    pub fn cpu_seconds_max(&self) -> Option<u64> {
        self.0.cpu_time.map(|time| time.0.as_secs())
    }
}
