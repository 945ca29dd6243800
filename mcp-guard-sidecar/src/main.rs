//! The binary `mcp-guard`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mcp_guard_sidecar::cli::main()
}
