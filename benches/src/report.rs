//! What `versus` found, printed and as a page.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::contest::{Outcome, Round};
use crate::footprint::{self, Footprint};
use crate::open_loop::{self, OpenLoop};
use crate::page::Page;
use crate::page::bars::{Bar, BarSeries, Bars};
use crate::page::lines::Lines;
use crate::stats::{Spread, median};
use crate::summary::{ratio, tables};
use crate::{Contestant, Fault};

/// The page as far as it is written. What is added is printed, too.
#[derive(Debug)]
pub struct Report {
    page: Page,
    reference: String,
}

const INTRODUCTION: &str = "One machine, loopback, load and node in one process beside the proxies: what counts are the ratios within a run. \
    How to read this and what may mislead: docs/benchmarks.md.";

impl Report {
    /// A report whose ratios are to the contestant called `reference`.
    pub fn new(reference: &str) -> Self {
        Self { page: Page::new("mcp-guard against other proxies", INTRODUCTION), reference: reference.into() }
    }

    /// Adds what came of the rounds.
    ///
    /// # Errors
    ///
    /// If a plot cannot be drawn.
    pub fn calls(&mut self, outcome: &Outcome) -> Result<(), Fault> {
        self.page.heading("Calls");
        let cpu = self.ratios(outcome, "CPU time of a call", Round::cpu_seconds);
        let calls = self.ratios(outcome, "Calls per second", |round| round.calls_per_second);
        let mut plots = vec![cpu.svg()?, calls.svg()?];
        for (place, (connections, _)) in outcome.by_connections.iter().enumerate() {
            plots.push(latencies(outcome, place, *connections).svg()?);
        }
        self.page.plots(&plots);
        for table in tables(outcome, &self.reference) {
            table.print();
            self.page.table(&table);
        }
        Ok(())
    }

    /// Adds what was measured once.
    ///
    /// # Errors
    ///
    /// If a plot cannot be drawn.
    pub fn footprints(&mut self, footprints: &[Footprint]) -> Result<(), Fault> {
        let table = footprint::table(footprints);
        table.print();
        self.page.heading("Memory, start, size");
        let held = |title: &str, unit: &str, groups: [&str; 2], of: fn(&Footprint) -> [Option<f64>; 2]| {
            let bar = |height| Bar { height, range: None };
            let series = footprints
                .iter()
                .map(|one| BarSeries { name: one.name.clone(), bars: of(one).map(|height| height.map(bar)).to_vec() });
            let groups = groups.map(str::to_owned).to_vec();
            // The first colour is that of nobody in between, who holds no memory.
            Bars {
                title: title.into(),
                unit: unit.into(),
                x: String::new(),
                groups,
                series: series.collect(),
                first_colour: 1,
            }
            .svg()
        };
        let each = held("Memory of what is open", "KiB each (PSS)", ["kept connection", "SSE stream"], |one| {
            [Some(one.connection_kib), one.stream_kib]
        })?;
        let rest = held("Memory at rest, and program", "MiB", ["at rest (RSS)", "program, stripped"], |one| {
            [Some(one.rest_rss_mib), one.stripped_mib]
        })?;
        self.page.plots(&[each, rest]);
        self.page.table(&table);
        Ok(())
    }

    /// Offers half of what the reference reached to each of `contestants`, and adds how long that took.
    ///
    /// # Errors
    ///
    /// If an answer is not what it has to be, or the reference answered nothing.
    pub async fn open_loop(
        &mut self,
        outcome: &Outcome,
        contestants: &[Contestant],
        time: Duration,
        rounds: usize,
    ) -> Result<(), Fault> {
        let rate = peak(outcome, &self.reference).ok_or("no peak to offer half of")? / 2.0;
        let open_loop = OpenLoop { rate, time, rounds };
        let offered = open_loop.hold(contestants).await?;
        let table = open_loop::table(&offered, open_loop);
        table.print();
        let bar = |figures: &Vec<f64>| {
            Spread::of(figures.clone()).map(|it| Bar { height: it.median, range: Some((it.low, it.high)) })
        };
        let series = offered
            .iter()
            .map(|one| BarSeries { name: one.name.clone(), bars: vec![bar(&one.p50_ms), bar(&one.p99_ms)] });
        let bars = Bars {
            title: format!("Latency at {rate:.0} calls/s offered"),
            unit: "ms since due".into(),
            x: "quantile".into(),
            first_colour: 0,
            groups: vec!["p50".into(), "p99".into()],
            series: series.collect(),
        };
        self.page.heading("Open loop");
        self.page.plots(&[bars.svg()?]);
        self.page.table(&table);
        Ok(())
    }

    /// Writes `index.html` into `directory`.
    ///
    /// # Errors
    ///
    /// If that cannot be written.
    pub fn write(&self, directory: &Path) -> io::Result<PathBuf> {
        self.page.write(directory)
    }

    /// Ratios to the reference, in groups by connections.
    fn ratios(&self, outcome: &Outcome, title: &str, figure: fn(&Round) -> f64) -> Bars {
        let reference = outcome.names.iter().position(|name| *name == self.reference);
        let bar = |all: &Vec<Vec<Round>>, place: usize| {
            let spread = ratio(all.get(place)?, all.get(reference?)?, figure)?;
            // Nobody's CPU time is 0: whoever has none is no process.
            (spread.high > 0.0).then_some(Bar { height: spread.median, range: Some((spread.low, spread.high)) })
        };
        let series = outcome.names.iter().enumerate().map(|(place, name)| BarSeries {
            name: name.clone(),
            bars: outcome.by_connections.iter().map(|(_, all)| bar(all, place)).collect(),
        });
        Bars {
            title: format!("{title}, ratio to {}", self.reference),
            unit: format!("ratio to {} (median, range)", self.reference),
            x: "clients".into(),
            first_colour: 0,
            groups: outcome.by_connections.iter().map(|(count, _)| count.to_string()).collect(),
            series: series.collect(),
        }
    }
}

fn latencies(outcome: &Outcome, place: usize, connections: usize) -> Lines {
    let middle = |rounds: &[Round], figure: fn(&Round) -> f64| median(rounds.iter().map(figure).collect());
    let points = |rounds: &Vec<Round>| {
        let figures: [fn(&Round) -> f64; 3] = [|round| round.p50_ms, |round| round.p99_ms, |round| round.p999_ms];
        [1.0, 2.0, 3.0].into_iter().zip(figures.map(|figure| middle(rounds, figure))).collect()
    };
    let all = outcome.by_connections.get(place).map_or(&[][..], |(_, all)| all.as_slice());
    Lines {
        title: format!("Latency, {connections} clients"),
        x: "quantile".into(),
        y: "ms, median of the rounds".into(),
        first_colour: 0,
        series: outcome.names.iter().cloned().zip(all.iter().map(points)).collect(),
        names: ["p50", "p99", "p99.9"].map(str::to_owned).to_vec(),
    }
}

/// The most calls a second that the contestant called `name` reached with any number of connections.
fn peak(outcome: &Outcome, name: &str) -> Option<f64> {
    let place = outcome.names.iter().position(|found| found == name)?;
    let rates = outcome.by_connections.iter().filter_map(|(_, all)| all.get(place));
    let rates = rates.map(|rounds| median(rounds.iter().map(|round| round.calls_per_second).collect()));
    rates.filter(|rate| rate.is_finite()).max_by(f64::total_cmp)
}
