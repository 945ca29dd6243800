//! `mcp-guard drain`: begin the drain of a running guard, and wait for its end; for hooks in images that have no shell.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use mcp_guard::middleware::clock;
use serde_json::Value;

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
    let mut unanswered = 0;
    while clock::now() < end {
        match ask(admin, "GET", "/status") {
            Ok(status) if is_over(&status) => return ExitCode::SUCCESS,
            Ok(_) => unanswered = 0,
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return ExitCode::SUCCESS,
            // Once may be a bad moment.
            Err(_) if unanswered > 0 => return ExitCode::SUCCESS,
            Err(_) => unanswered += 1,
        }
        pause(INTERVAL);
    }
    complain(&format!("mcp-guard drain: {admin}: connections are still open after {wait:?}"));
    ExitCode::FAILURE
}

/// Whether nobody is served any more: the lame-duck time is over, and all connections are.
fn is_over(status: &str) -> bool {
    let Ok(status) = serde_json::from_str::<Value>(status) else { return false };
    status.get("turnsAway") == Some(&Value::Bool(true)) && status.get("connections") == Some(&Value::from(0))
}
