//! Stub.

use std::net::SocketAddr;
use std::process::ExitCode;

/// Runs the demo until it is told to stop.
pub fn demo(_listen: Option<SocketAddr>, _admin: Option<SocketAddr>) -> ExitCode {
    ExitCode::FAILURE
}
