//! The binary `mcp-guard`; everything is in the library.

use std::process::ExitCode;

/// A call allocates some thirty times, nearly always on the core that frees it (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    mcp_guard_sidecar::cli::main()
}
