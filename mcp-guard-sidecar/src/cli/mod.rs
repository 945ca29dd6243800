//! The command line: one file a command.
//!
//! | exit code | means                                     |
//! |-----------|-------------------------------------------|
//! | 0         | done                                      |
//! | 1         | failed while running                      |
//! | 2         | the command line or the config is not valid |

mod arguments;
mod ask;
mod check;
mod drain;
mod exec_node;
mod output;
mod run;
mod schema;

pub use arguments::{Arguments, RunArguments, Subcommand};
pub(crate) use ask::{ask, pause};
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
        Subcommand::Check { config, online } => check::run(&config, online),
        Subcommand::Schema => schema::run(),
        Subcommand::Drain { admin, wait } => drain::run(admin.unwrap_or_else(own_admin), wait.0),
        Subcommand::Top { admin, once } => crate::top::top(admin.unwrap_or_else(own_admin), once),
        Subcommand::ExecNode(node) => node.run(),
    }
}

/// Where operators are served unless a config says otherwise.
fn own_admin() -> std::net::SocketAddr {
    crate::config::Admin::default().address
}
