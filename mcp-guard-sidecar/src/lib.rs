//! mcp-guard in front of an MCP server that nobody changes.
//!
//! This crate composes and decides nothing: pingora hosts ([`host`]), connections are served ([`connection`]), the layers of
//! `mcp-guard` guard ([`stack`]), and the innermost service is the node ([`upstream`]).

// Beside the workspace's lints, which tests keep too: nothing that could be reached from outside may panic.
#![cfg_attr(
    not(test),
    warn(
        clippy::get_unwrap,
        clippy::panic_in_result_fn,
        clippy::string_slice,
        clippy::unchecked_time_subtraction,
        clippy::unreachable,
        clippy::unwrap_in_result
    )
)]

pub mod activity;
pub mod admin;
pub mod admin_app;
mod admin_door;
pub mod admission;
mod asked;
pub mod cli;
pub mod clients;
pub mod config;
pub mod connection;
pub mod core_dumps;
pub mod demo;
pub mod drain;
mod event;
mod frames;
#[cfg(test)]
mod fuzz_seeds;
pub mod hand_over;
mod hangups;
pub mod health;
pub mod host;
pub mod http1;
mod lines;
pub mod memory;
pub mod metrics_page;
pub mod open_files;
#[cfg(test)]
#[path = "../../fuzz/checks/pieces.rs"]
mod pieces;
pub mod probe;
mod proxy_protocol;
mod random;
mod refused;
pub mod reload;
pub mod resume;
pub mod run;
mod served;
pub mod setup;
mod sign_of_life;
pub mod stack;
pub mod telemetry;
pub mod tls;
mod told;
pub mod top;
pub mod upstream;
mod watched;
mod wire;
