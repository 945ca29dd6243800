//! Nodes that speak JSON lines on their standard input and output, one process for each [session](super::sessions).
//!
//! | when                              | what happens                                                                   |
//! |-----------------------------------|--------------------------------------------------------------------------------|
//! | the session ends                  | its child is ended: SIGTERM to the group that it leads and, after `grace`, SIGKILL |
//! | the child exits                   | the session gets another, after what the first said last                       |
//! | the guard ends in order           | the children end with all that they started                                    |
//! | the guard is killed               | the kernel kills the children themselves, see [`ExecNode`](crate::cli::ExecNode); what they started lives on, unless it ends with its input |
//!
//! A child's standard error goes to the log line by line, bounded in length and rate.

mod child;
mod log;
mod options;
mod spawner;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mcp_guard::middleware::UpstreamError;
use tokio::process::Child;
use tokio::sync::mpsc::Receiver;

use self::child::Supervised;
use self::log::log_stderr;
pub use self::options::StdioOptions;
use self::spawner::Spawner;
use super::sessions::{Connection, Keeper, Line, Link, SessionNode, SessionOptions, serve_lines};

/// A node that is run as `options` say, one child for each session. Nothing is started yet.
pub fn node(options: StdioOptions, sessions: SessionOptions) -> SessionNode {
    let spawner = Spawner::new(sessions.sessions_max.get());
    SessionNode::new(Children { options, spawner }, sessions)
}

/// Starts a child for each session.
#[derive(Debug)]
struct Children {
    options: StdioOptions,
    spawner: Spawner,
}

#[async_trait]
impl Link for Children {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Line>) -> Result<Keeper, UpstreamError> {
        let child = self.spawner.spawn(child::command(&self.options)).await;
        child
            .and_then(|child| serve(child, connection, lines, self.options.grace))
            .map_err(|error| UpstreamError::Unavailable(format!("its process cannot be started: {}", error.kind())))
    }
}

fn serve(mut child: Child, connection: &Arc<Connection>, lines: Receiver<Line>, grace: Duration) -> io::Result<Keeper> {
    let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let supervised = Supervised::new(child).ok_or(io::ErrorKind::BrokenPipe)?;
    serve_lines(connection, stdout, stdin, lines);
    tokio::spawn(log_stderr(stderr, connection.hint()));
    Ok(Box::pin(supervised.run(Arc::clone(connection), grace)))
}
