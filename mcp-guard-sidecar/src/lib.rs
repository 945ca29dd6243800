//! mcp-guard in front of an MCP server that nobody changes.

pub mod cli;
pub mod config;

/// Stands in for `run.rs` until the host is wired.
pub mod run {
    /// Fails.
    pub fn run(_: &crate::config::Config) -> std::process::ExitCode {
        std::process::ExitCode::FAILURE
    }
}

/// Stands in for `demo/` until the host is wired.
pub mod demo {
    /// Fails.
    pub fn demo(_: Option<std::net::SocketAddr>, _: Option<std::net::SocketAddr>) -> std::process::ExitCode {
        std::process::ExitCode::FAILURE
    }
}
