//! mcp-guard.

pub mod call;
pub mod config;
pub mod limits;
pub mod matcher;
pub mod message;
pub mod outcome;
pub mod refusal;
pub mod reply;
pub mod revision;
pub mod units;

pub mod session;

pub mod breaker;
pub mod queue;
pub mod rate_limit;
pub mod retry;
pub mod trace;
pub mod validation;

#[cfg(feature = "tower")]
pub mod middleware;
