//! What the command line says.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser};
use mcp_guard::units::Span;

use super::exec_node::ExecNode;
use crate::config::{Flags, parse_address};
use crate::reload::Source;

/// Stands in front of an MCP server and makes it fit for production.
#[derive(Clone, Debug, Parser)]
#[command(name = "mcp-guard", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Subcommand,
}

/// What to do.
#[derive(Clone, Debug, clap::Subcommand)]
#[non_exhaustive]
pub enum Subcommand {
    /// Guard a node until told to stop
    Run(RunArguments),
    /// Guard a built-in MCP server, to try things out
    Demo {
        /// Where clients are served [default: 127.0.0.1:8080]
        #[arg(long, value_name = "ADDR", value_parser = parse_address)]
        listen: Option<SocketAddr>,
        /// Where operators and probes are served [default: 127.0.0.1:9901]
        #[arg(long, value_name = "ADDR", value_parser = parse_address)]
        admin: Option<SocketAddr>,
    },
    /// Say whether a guard could run with a config file: exit code 0, or 2 and one line for each problem
    Check {
        /// The config file
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// Also resolve the names of nodes, and look for the programs of stdio nodes
        #[arg(long)]
        online: bool,
    },
    /// Begin the drain of a running guard and wait until it has no connections: exit code 0, or 1 if it still has some
    Drain {
        /// Where its operators are served [default: 127.0.0.1:9901]
        #[arg(long, value_name = "ADDR", value_parser = parse_address)]
        admin: Option<SocketAddr>,
        /// How long to wait, as in 30s
        #[arg(long, value_name = "DURATION", default_value = "30s")]
        wait: Span,
    },
    /// Print the JSON Schema of the config file
    Schema,
    /// Show what a running guard does, each second, until `q` is pressed
    Top {
        /// Where its operators are served [default: 127.0.0.1:9901]
        #[arg(long, value_name = "ADDR", value_parser = parse_address)]
        admin: Option<SocketAddr>,
        /// Show it once, as plain text
        #[arg(long)]
        once: bool,
    },
    /// Become a stdio node that ends with the guard; for the guard's own use
    #[command(hide = true)]
    ExecNode(ExecNode),
}

/// What `run` is told; flags win over the file.
#[derive(Args, Clone, Debug)]
pub struct RunArguments {
    /// The config file
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where clients are served [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub listen: Option<SocketAddr>,
    /// The node, as `http://HOST[:PORT][/PATH]`
    #[arg(long, value_name = "URL", conflicts_with = "command", help = "The node, as http://HOST[:PORT][/PATH]")]
    pub upstream: Option<String>,
    /// Where operators and probes are served [default: 127.0.0.1:9901]
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub admin: Option<SocketAddr>,
    /// Take the place of the guard with this process id: get its listening sockets at `shutdown.hand_over`, then it ends
    #[arg(long, value_name = "PID")]
    pub upgrade: Option<u32>,
    /// The node as a program on stdio, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

impl RunArguments {
    /// The file, and what is laid over it.
    pub(super) fn into_source(self) -> Source {
        let Self { config: file, listen, upstream, admin, command, upgrade: _ } = self;
        Source { file, flags: Flags { listen, upstream, admin, command } }
    }
}
