//! `mcp-guard run`: guard a node until told to stop.

use std::process::ExitCode;

use super::USAGE;
use super::arguments::RunArguments;
use super::output::complain;
use crate::hand_over::Predecessor;

pub(super) fn run(arguments: RunArguments) -> ExitCode {
    let upgrade = arguments.upgrade;
    let source = arguments.into_source();
    let config = match source.load() {
        Ok(config) => config,
        Err(error) => {
            complain(&error);
            return ExitCode::from(USAGE);
        }
    };
    let predecessor = match (upgrade, &config.shutdown().hand_over) {
        (None, _) => None,
        (Some(pid), Some(path)) => Some(Predecessor { pid, path: path.clone() }),
        (Some(_), None) => {
            complain(&"--upgrade: needs the path of a Unix socket in shutdown.hand_over, the same for both processes");
            return ExitCode::from(USAGE);
        }
    };
    if let Some(other) = predecessor.as_ref().filter(|predecessor| !predecessor.is_guard()) {
        complain(&format!("--upgrade: process {} is no guard", other.pid));
        return ExitCode::from(USAGE);
    }
    crate::run::run(config, source, predecessor.as_ref())
}
