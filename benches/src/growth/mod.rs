//! What a call costs in the library against the size of what the guard holds, and of what it is sent.

mod series;
mod sweeps;
mod world;

use std::path::{Path, PathBuf};

pub use series::Settings;
use series::{Allowed, Series};
use sweeps::SWEEPS;

use crate::page::Page;
use crate::page::lines::Lines;
use crate::table::Table;
use crate::{Fault, say};

/// The names of what may grow.
pub fn names() -> impl Iterator<Item = &'static str> {
    SWEEPS.iter().map(|(name, _)| *name)
}

const INTRODUCTION: &str = "mcp-guard's layers around a node in memory, one thread, no sockets (but for nodes): median time of a call at each size. \
    A fitted exponent of 0 is flat, 1 a line; the last one is that of the two largest sizes. How to read this: docs/benchmarks.md.";

/// Measures those called `only`, or all if that is empty; prints a table and writes `index.html` into `directory`.
///
/// # Errors
///
/// If a call is not answered as it has to be, or the page cannot be written.
pub fn run(settings: &Settings, only: &[String], directory: &Path) -> Result<PathBuf, Fault> {
    let mut page = Page::new("What a call costs as things grow", INTRODUCTION);
    let head = ["", "against", "ns a call at each size", "exponent", "last exponent", "may be", "is"];
    let mut table = Table::new("Median ns of a call at each size; exponents by least squares of the logarithms", &head);
    let mut plots = Vec::new();
    for (name, sweep) in SWEEPS.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|it| it == name)) {
        let all = sweep(settings).map_err(|fault| format!("{name}: {fault}"))?;
        say(format_args!("measured: {name}"));
        all.iter().for_each(|series| table.row(row(series)));
        plots.push(plot(name, &all)?);
    }
    table.print();
    page.plots(&plots);
    page.table(&table);
    Ok(page.write(directory)?)
}

fn row(series: &Series) -> Vec<String> {
    let points = series.points.iter().map(|(size, nanos)| format!("{size:.0}: {nanos:.0}"));
    let allowed = match series.allowed {
        Allowed::Logarithmic => "logarithmic",
        Allowed::Linear => "linear",
    };
    vec![
        series.name.into(),
        series.of.into(),
        points.collect::<Vec<_>>().join(", "),
        format!("{:.2}", series.exponent()),
        format!("{:.2}", series.last_exponent()),
        allowed.into(),
        if series.is_as_allowed() { "no worse".into() } else { "WORSE".into() },
    ]
}

fn plot(name: &str, all: &[Series]) -> Result<String, Fault> {
    let lines = Lines {
        title: format!("Cost against {}", all.first().map_or(name, |series| series.of)),
        x: all.first().map_or(name, |series| series.of).into(),
        y: "ns a call, median".into(),
        first_colour: 5,
        series: all
            .iter()
            .map(|series| (format!("{} (x^{:.2})", series.name, series.exponent()), series.points.clone()))
            .collect(),
        names: Vec::new(),
    };
    lines.svg()
}
