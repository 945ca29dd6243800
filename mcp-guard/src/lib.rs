//! Tower layers that make an MCP server fit for production.
//!
//! [`GuardLayer`] is the whole guard; [`RateLimitLayer`](rate_limit::RateLimitLayer),
//! [`ValidationLayer`](validation::ValidationLayer), [`QueueLayer`](queue::QueueLayer),
//! [`RetryLayer`](retry::RetryLayer), [`BreakerLayer`](breaker::BreakerLayer) and
//! [`TraceLayer`](trace::TraceLayer) are its concerns, each of use alone. They wrap any
//! `Service<http::Request<_>, Response = http::Response<_>>` that speaks MCP over Streamable HTTP, and ask nothing
//! of the runtime but tokio's timer. What they refuse is answered; they have no errors of their own.
//!
//! Without the feature `tower` (on by default) the crate is decisions only: plain data and plain functions that
//! know no runtime, no HTTP and no clock.
//!
//! The modules, in reading order: the words that everything shares ([`revision`], [`call`], [`message`],
//! [`refusal`], [`outcome`]), what the operator asks for ([`config`], [`units`]), the concerns in the order in
//! which a call meets them, and [`middleware`], the HTTP around them.

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

pub mod call;
pub mod json;
pub mod limits;
pub mod matcher;
mod members;
pub mod message;
pub mod outcome;
pub mod refusal;
pub mod reply;
pub mod revision;
mod ring;

#[cfg(test)]
#[path = "../../mcp-guard-sidecar/src/fuzz_seeds.rs"]
mod fuzz_seeds;

pub mod config;
pub mod units;

pub mod trace;

pub mod rate_limit;

pub mod validation;

pub mod queue;

pub mod retry;

pub mod breaker;

pub mod session;

#[cfg(feature = "tower")]
mod guard;
#[cfg(feature = "tower")]
pub mod middleware;

#[cfg(feature = "tower")]
pub use guard::{GuardLayer, GuardStack};
#[cfg(feature = "tower")]
pub use middleware::describe_metrics;
