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
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
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
    Children::new(options, sessions.sessions_max).node(sessions)
}

/// Starts a child for each session. Clones are the same.
#[derive(Clone, Debug)]
pub struct Children(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: ArcSwap<StdioOptions>,
    spawner: Spawner,
}

impl Children {
    /// Runs them as `options` say, at most so many at once. Nothing is started yet.
    pub fn new(options: StdioOptions, children_max: NonZeroUsize) -> Self {
        let spawner = Spawner::new(children_max.get());
        Self(Arc::new(Shared { options: ArcSwap::from_pointee(options), spawner }))
    }

    /// Runs those to come as `options` say.
    pub fn set(&self, options: StdioOptions) {
        self.0.options.store(Arc::new(options));
    }

    /// The node that they are, with these sessions.
    pub fn node(&self, sessions: SessionOptions) -> SessionNode {
        SessionNode::new(self.clone(), sessions)
    }
}

#[async_trait]
impl Link for Children {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Line>) -> Result<Keeper, UpstreamError> {
        let options = self.0.options.load_full();
        let child = self.0.spawner.spawn(child::command(&options)).await;
        child
            .and_then(|child| serve(child, connection, lines, options.grace))
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
