//! `exec-node`: becomes a stdio node that ends with the guard, whatever ends the guard.
//!
//! A process can ask the kernel to be killed when its parent dies, but only for itself, and only before it becomes
//! another program is it ours to ask. So the guard starts nodes by way of this hidden command.
//!
//! Only that process is killed: the kernel does not pass the request on to what it starts. A supervisor that stays between
//! could, but would hold a copy of the node's pipes and a process more for each session.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use clap::Parser;
use rustix::process::{Resource, Rlimit, getppid, getrlimit, setrlimit};

/// Becomes COMMAND, killed when the guard ends. For the guard's own use.
#[derive(Clone, Debug, Parser)]
#[command(name = "exec-node", hide = true)]
#[non_exhaustive]
pub struct ExecNode {
    /// Process id of the guard; with another parent, the guard is gone already.
    #[arg(long)]
    pub parent: i32,
    /// Most bytes of memory that it may write to (RLIMIT_DATA).
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<u64>,
    /// Most seconds of CPU time (RLIMIT_CPU).
    #[arg(long, value_name = "N")]
    pub cpu_seconds: Option<u64>,
    /// Most open files, as a soft limit (RLIMIT_NOFILE): the guard has raised its own.
    #[arg(long, value_name = "N")]
    pub open_files: Option<u64>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

impl ExecNode {
    /// Becomes the command. Returns only if that fails: 126 if it cannot be run, 127 if there is none, as in a shell.
    pub fn run(self) -> ExitCode {
        let error = self.become_command();
        // What is written to the standard error is in the guard's log: the guard reads it.
        let program = self.command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
        let _ = io::Write::write_all(&mut io::stderr(), format!("cannot start {program}: {error}\n").as_bytes());
        if error.kind() == io::ErrorKind::NotFound { ExitCode::from(127) } else { ExitCode::from(126) }
    }

    fn become_command(&self) -> io::Error {
        if let Err(error) = self.prepare() {
            return error;
        }
        match self.command.split_first() {
            Some((program, arguments)) => Command::new(program).args(arguments).exec(),
            None => io::ErrorKind::NotFound.into(),
        }
    }

    fn prepare(&self) -> io::Result<()> {
        // It is kept across exec. SIGKILL, since a node that ignores SIGTERM would live on.
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // The guard may have ended before the kernel was asked.
        if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(self.parent) {
            return Err(io::Error::other("the guard has ended"));
        }
        for (resource, limit) in [(Resource::Data, self.memory), (Resource::Cpu, self.cpu_seconds)] {
            if limit.is_some() {
                setrlimit(resource, Rlimit { current: limit, maximum: limit })?;
            }
        }
        if let Some(open_files) = self.open_files {
            let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
            setrlimit(Resource::Nofile, Rlimit { current: Some(open_files), maximum })?;
        }
        Ok(())
    }
}
