//! `mcp-guard drain`: begin the drain of a running guard, and wait for its end; for hooks in images that have no shell.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use mcp_guard::middleware::clock;

use super::ask::{ask, pause};
use super::output::complain;

/// How often the guard is looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// Begins the drain of the guard at `admin`, and waits at most `wait` until it has no connections or is gone.
pub(super) fn run(admin: SocketAddr, wait: Duration) -> ExitCode {
    if let Err(error) = ask(admin, "POST", "/drain") {
        complain(&format!("mcp-guard drain: {admin}: {error}"));
        return ExitCode::FAILURE;
    }
    let end = clock::now() + wait;
    while clock::now() < end {
        let status =
            ask(admin, "GET", "/status").ok().and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok());
        let connections = status.as_ref().and_then(|status| status.get("connections")?.as_u64());
        // Who does not answer any more has ended.
        if connections.is_none_or(|connections| connections == 0) {
            return ExitCode::SUCCESS;
        }
        pause(INTERVAL);
    }
    complain(&format!("mcp-guard drain: {admin}: connections are still open after {wait:?}"));
    ExitCode::FAILURE
}
