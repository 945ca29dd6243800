//! `mcp-guard run`: guard a node until told to stop.

use std::process::ExitCode;

use super::USAGE;
use super::arguments::RunArguments;
use super::output::complain;
use crate::config::Config;

pub(super) fn run(arguments: RunArguments) -> ExitCode {
    let (file, flags) = arguments.into_parts();
    let config = match file {
        Some(file) => Config::load(&file, &flags),
        None => Config::from_flags(&flags),
    };
    match config {
        Ok(config) => crate::run::run(&config),
        Err(error) => {
            complain(&error);
            ExitCode::from(USAGE)
        }
    }
}
