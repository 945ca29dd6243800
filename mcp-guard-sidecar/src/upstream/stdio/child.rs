//! One process: how it is started, watched, and ended with all that it started.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::options::StdioOptions;
use crate::open_files;
use crate::upstream::sessions::Connection;

/// The command that starts a node.
pub(super) fn command(options: &StdioOptions) -> Command {
    let mut command = match &options.launcher {
        Some(launcher) => launched(options, launcher.as_os_str()),
        None => {
            let mut command = Command::new(&options.program);
            command.args(&options.arguments);
            command
        }
    };
    command.envs(options.environment.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = &options.directory {
        command.current_dir(directory);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0).kill_on_drop(true);
    command
}

fn launched(options: &StdioOptions, launcher: &std::ffi::OsStr) -> Command {
    let mut command = Command::new(launcher);
    command.arg("exec-node").arg("--parent").arg(std::process::id().to_string());
    let limits =
        [("--memory", options.memory), ("--cpu-seconds", options.cpu_seconds), ("--open-files", open_files::before())];
    for (flag, limit) in limits {
        if let Some(limit) = limit {
            command.arg(flag).arg(limit.to_string());
        }
    }
    command.arg("--").arg(&options.program).args(&options.arguments);
    command
}

/// A child with the group that it leads.
#[derive(Debug)]
pub(super) struct Supervised {
    child: Child,
    group: Group,
}

impl Supervised {
    /// Takes a child that was just started. `None` if it is gone already.
    pub(super) fn new(child: Child) -> Option<Self> {
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)?;
        Some(Self { child, group: Group { leader, is_gone: false } })
    }

    /// Waits until the child exits or the session ends, and leaves nothing of either.
    pub(super) async fn run(mut self, connection: Arc<Connection>, grace: Duration) {
        let exited = tokio::select! {
            biased;
            status = self.child.wait() => status.ok(),
            () = connection.ended() => None,
        };
        match exited {
            Some(status) => self.after_exit(&connection, status).await,
            None => self.terminate(grace).await,
        }
    }

    /// The last answers may still be in the pipe.
    async fn after_exit(&mut self, connection: &Connection, status: ExitStatus) {
        self.group.kill();
        self.group.is_gone = true;
        if timeout(LAST_WORDS, connection.ended()).await.is_err() {
            // Something that left the group holds the pipe open.
            connection.end();
        }
        tracing::info!(session = connection.hint(), %status, "the node's process exited");
    }

    async fn terminate(&mut self, grace: Duration) {
        self.group.signal(Signal::TERM);
        if timeout(grace, self.child.wait()).await.is_err() {
            self.group.signal(Signal::KILL);
            // Killed processes exit, and the result is of no use.
            let _ = self.child.wait().await;
        }
        // What the child had started may be there still.
        self.group.kill();
        self.group.is_gone = true;
    }
}

/// How long to wait for the end of the output of a child that has exited.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The processes that a child started, with itself; killed when this is dropped too early, as by a runtime that ends.
#[derive(Debug)]
struct Group {
    leader: Pid,
    is_gone: bool,
}

impl Group {
    fn signal(&self, signal: Signal) {
        // An error says that there is nobody left.
        let _ = kill_process_group(self.leader, signal);
    }

    /// Right after the leader was reaped its id cannot be another's yet, as long as ids are given out in turn.
    fn kill(&self) {
        self.signal(Signal::KILL);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_gone {
            self.kill();
        }
    }
}
