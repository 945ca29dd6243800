//! The load generator against servers on loopback ports.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "what a test cannot set up fails it")]

mod command;
mod failures;
mod harness;
mod sessions;
mod transports;
