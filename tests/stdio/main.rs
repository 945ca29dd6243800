//! The stdio upstream with real child processes.

#![expect(clippy::panic, reason = "a test that cannot go on fails")]

mod erlmcp;
mod failover;
mod messages;
mod processes;
mod sessions;

use std::time::Duration;

use mcp_guard::middleware::UpstreamError;
use mcp_guard::refusal::Reason;
use mcp_guard_sidecar::upstream::sessions::{SessionNode, SessionOptions};
use mcp_guard_sidecar::upstream::stdio::{self, StdioOptions};
use mcp_guard_tests::stdio::{Client, Reply};
use tokio::time::{interval, timeout};

const NODE: &str = env!("CARGO_BIN_EXE_stdio-node");
const HOST: &str = env!("CARGO_BIN_EXE_stdio-host");
const DEADLINE: Duration = Duration::from_secs(20);

/// How a node of a test is run, and its sessions are kept.
struct Options {
    child: StdioOptions,
    sessions: SessionOptions,
}

impl Options {
    fn new() -> Self {
        Self { child: StdioOptions::new(NODE), sessions: SessionOptions::default() }
    }
}

fn node(change: impl FnOnce(&mut Options)) -> (Client, SessionNode) {
    let mut options = Options::new();
    change(&mut options);
    let node = stdio::node(options.child, options.sessions);
    (Client::new(node.clone()), node)
}

fn reason(reply: Reply) -> Reason {
    match reply {
        Err(UpstreamError::Refused(refusal)) => refusal.reason(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        let mut tick = interval(Duration::from_millis(5));
        while !condition() {
            tick.tick().await;
        }
    };
    timeout(DEADLINE, holds).await.unwrap_or_else(|_| panic!("not so in time: {what}"));
}

/// Whether a process runs: one that nobody reaped yet does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some(None | Some('Z' | 'X')))
}
