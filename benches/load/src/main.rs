//! `mcp-load`: a plan from the command line, a table on the standard output.

mod arguments;
mod interrupt;

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Parser;
use mcp_load::{Fault, Progress, run};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::arguments::Arguments;
use crate::interrupt::Interrupt;

const WRONG_ARGUMENTS: u8 = 2;

fn main() -> ExitCode {
    match load(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Refused { why, code }) => {
            tell(&format!("error: {}", with_causes(&*why)));
            code
        }
    }
}

/// Whether all went well.
fn load(arguments: &Arguments) -> Result<bool, Refused> {
    let plan = arguments.plan().map_err(|error| wrong(error.into()))?;
    let plan = plan.build().map_err(|error| wrong(error.into()))?;
    // Before the run, because it would be a pity afterwards.
    let file = arguments
        .json
        .as_ref()
        .map(|name| File::create(name).map_err(|error| wrong(format!("{}: {error}", name.display()).into())));
    let file = file.transpose()?;
    if arguments.verifies_nothing() {
        tell("WARNING: --insecure: no certificate is verified, anybody can pose as the server");
    }
    raise_open_files();
    let interrupt = Interrupt::listen().map_err(|error| failed(error.into()))?;
    let progress = |progress: &Progress| {
        if !arguments.quiet {
            tell(&progress.to_string());
        }
        if interrupt.has_come() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let report = run(&plan, progress).map_err(|fault| {
        let is_wrong = matches!(fault, Fault::Address { .. } | Fault::Tls(_));
        if is_wrong { wrong(fault.into()) } else { failed(fault.into()) }
    })?;
    if let Some(mut file) = file {
        let written =
            serde_json::to_vec_pretty(&report).map_err(io::Error::from).and_then(|json| file.write_all(&json));
        written.map_err(|error| failed(error.into()))?;
    }
    // Whoever closed the output does not want to read on.
    let _ = write!(io::stdout().lock(), "{report}");
    Ok(report.is_clean())
}

/// Why there is no report, and with which code that ends.
struct Refused {
    why: Box<dyn Error>,
    code: ExitCode,
}

fn wrong(why: Box<dyn Error>) -> Refused {
    Refused { why, code: ExitCode::from(WRONG_ARGUMENTS) }
}

fn failed(why: Box<dyn Error>) -> Refused {
    Refused { why, code: ExitCode::FAILURE }
}

fn tell(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
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

/// A connection is an open file: as many as the system allows.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What cannot be raised shows as failures to connect.
    let _ = setrlimit(Resource::Nofile, limit);
}
