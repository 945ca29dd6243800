//! The binary `mcp-guard`.

use std::process::ExitCode;

use clap::Parser;
use mcp_guard_sidecar::cli::ExecNode;

#[derive(Parser)]
enum Command {
    ExecNode(ExecNode),
}

fn main() -> ExitCode {
    match Command::parse() {
        Command::ExecNode(exec_node) => exec_node.run(),
    }
}
