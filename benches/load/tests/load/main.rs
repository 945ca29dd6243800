//! The load generator against servers on loopback ports.

mod harness;
mod sessions;
