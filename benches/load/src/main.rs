//! `mcp-load`: a plan from the command line, a table on the standard output.

mod arguments;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use mcp_load::{Progress, Report, run};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::arguments::Arguments;

const WRONG_ARGUMENTS: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = arguments.plan().and_then(|spec| spec.build().map_err(|error| error.to_string()));
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => {
            tell(&format!("error: {error}"));
            return ExitCode::from(WRONG_ARGUMENTS);
        }
    };
    if arguments.verifies_nothing() {
        tell("WARNING: --insecure: no certificate is verified, anybody can pose as the server");
    }
    raise_open_files();
    let progress = |progress: &Progress| {
        if !arguments.quiet {
            tell(&progress.to_string());
        }
    };
    let report = run(&plan, progress).map_err(Into::into);
    match report.and_then(|report| write(&report, &arguments).map(|()| report)) {
        Ok(report) if report.is_clean() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            tell(&format!("error: {}", with_causes(&*error)));
            ExitCode::FAILURE
        }
    }
}

fn write(report: &Report, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    if let Some(file) = &arguments.json {
        fs::write(file, serde_json::to_vec_pretty(report)?).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    // Whoever closed the output does not want to read on.
    let _ = write!(io::stdout().lock(), "{report}");
    Ok(())
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// A connection is an open file: as many as the system allows.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What cannot be raised shows as failures to connect.
    let _ = setrlimit(Resource::Nofile, limit);
}
