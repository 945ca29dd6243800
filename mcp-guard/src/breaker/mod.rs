//! Stop calling a node, or one of its tools, that keeps failing.
mod circuit;
mod node;
mod open_time;
mod policy;
mod state;
mod tools;
mod window;

#[cfg(test)]
mod circuit_tests;

pub use policy::{BreakerPolicy, BreakerSpec, InvalidBreaker};
