//! mcp-guard in front of an MCP server that nobody changes.

pub mod cli;
pub mod config;
pub mod demo;
pub mod run;
