//! Stub.

use std::process::ExitCode;

use crate::config::Config;

/// Runs the sidecar until it is told to stop.
pub fn run(_config: Config) -> ExitCode {
    ExitCode::FAILURE
}
