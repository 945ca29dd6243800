//! `mcp-guard check`: say whether a config file is valid.

use std::path::Path;
use std::process::ExitCode;

use super::USAGE;
use super::output::complain;
use crate::config::{Config, Flags};

pub(super) fn run(file: &Path) -> ExitCode {
    match Config::load(file, &Flags::default()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::from(USAGE)
        }
    }
}
