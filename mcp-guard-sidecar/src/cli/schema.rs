//! `mcp-guard schema`: print the JSON Schema of the config file.

use std::process::ExitCode;

use super::output::{complain, print};
use crate::config;

pub(super) fn run() -> ExitCode {
    match print(&format!("{:#}\n", config::schema())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}
