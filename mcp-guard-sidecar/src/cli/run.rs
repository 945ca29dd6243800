//! `mcp-guard run`: guard a node until told to stop.

use std::process::ExitCode;

use super::USAGE;
use super::arguments::RunArguments;
use super::output::complain;

pub(super) fn run(arguments: RunArguments) -> ExitCode {
    let source = arguments.into_source();
    match source.load() {
        Ok(config) => crate::run::run(config, source),
        Err(error) => {
            complain(&error);
            ExitCode::from(USAGE)
        }
    }
}
