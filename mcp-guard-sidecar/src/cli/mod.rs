//! The command line: one file a command.
//!
//! | exit code | means                                     |
//! |-----------|-------------------------------------------|
//! | 0         | done                                      |
//! | 1         | failed while running                      |
//! | 2         | the command line or the config is not valid |

mod arguments;
mod check;
mod exec_node;
mod output;
mod run;
mod schema;

pub use arguments::{Arguments, RunArguments, Subcommand};
pub use exec_node::ExecNode;
pub(crate) use output::{complain, print};

use std::process::ExitCode;

use clap::Parser;

/// The exit code for a command line or a config that is not valid; clap uses it too.
const USAGE: u8 = 2;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Subcommand::Run(arguments) => run::run(arguments),
        Subcommand::Demo { listen, admin } => crate::demo::demo(listen, admin),
        Subcommand::Check { config } => check::run(&config),
        Subcommand::Schema => schema::run(),
        Subcommand::Top { admin, once } => {
            crate::top::top(admin.unwrap_or(crate::config::Admin::default().address), once)
        }
        Subcommand::ExecNode(node) => node.run(),
    }
}
