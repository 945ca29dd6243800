//! The sidecar's own `main`, as a binary of this package, so that cargo builds it before the tests run.

use std::process::ExitCode;

fn main() -> ExitCode {
    mcp_guard_sidecar::cli::main()
}
