//! .

pub mod telemetry;
