//! What `shapes` and `overload` are told alike.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mcp_guard::units::Span;
use serde::Serialize;

use super::node::Capacity;
use crate::Fault;

/// The guard, its node, and where the figures go.
#[derive(Args, Debug)]
#[non_exhaustive]
pub struct Setting {
    /// The guard [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    guard: Option<PathBuf>,
    /// Calls that the node works on at once
    #[arg(long, default_value_t = 32)]
    places: u32,
    /// How long it works on one
    #[arg(long, default_value = "100ms", value_parser = span)]
    service: Duration,
    /// How much slower it gets by those that wait inside it: 1 is twice as slow where as many wait as there are places
    #[arg(long, default_value_t = 0.0)]
    waste: f64,
    /// Where the figures are written, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Setting {
    /// The program.
    ///
    /// # Errors
    ///
    /// If this program does not know where it lies itself.
    pub fn guard(&self) -> Result<PathBuf, Fault> {
        match &self.guard {
            Some(guard) => Ok(guard.clone()),
            None => Ok(std::env::current_exe()?.with_file_name("mcp-guard")),
        }
    }

    /// What the node bears.
    pub fn capacity(&self) -> Capacity {
        Capacity { places: self.places, service: self.service, waste: self.waste }
    }

    /// Writes the figures where they are wanted.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn write(&self, figures: &impl Serialize) -> Result<(), Fault> {
        let Some(file) = &self.json else { return Ok(()) };
        Ok(std::fs::write(file, serde_json::to_vec_pretty(figures)?)?)
    }
}

/// A time on the command line, as in a config: `250ms`, `30s`.
///
/// # Errors
///
/// If it is none.
pub fn span(text: &str) -> Result<Duration, String> {
    text.parse::<Span>().map(|span| span.0).map_err(|error| error.to_string())
}
