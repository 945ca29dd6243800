//! Histograms of times. The exporter's keep each sample until somebody sums them up: a clock read, a place in memory and
//! a line that all cores fight for, each call. These count where they are.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::HistogramFn;

use super::stripes::Stripes;

/// Bounds in seconds for what takes as long as a call: those of OpenTelemetry's MCP conventions, and finer ones below.
const SECONDS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// How long something took, by bounds.
#[derive(Debug)]
pub(super) struct Times(Stripes<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Of each bound what is above the one before, and last what is above them all.
    buckets: [AtomicU64; SECONDS.len() + 1],
    /// In nanoseconds, which overflow after five centuries.
    sum: AtomicU64,
}

impl Times {
    /// None so far.
    pub(super) fn new() -> Self {
        Self(Stripes::new())
    }

    /// Writes the samples of the family `name` with `labels`, as `name="value",…` or empty.
    pub(super) fn write(&self, name: &str, labels: &str, out: &mut String) -> fmt::Result {
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        for (index, bound) in SECONDS.iter().map(Some).chain([None]).enumerate() {
            count += self.total(|counts| counts.buckets.get(index));
            match bound {
                Some(bound) => writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}")?,
                None => writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}")?,
            }
        }
        let braces = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let nanoseconds = self.total(|counts| Some(&counts.sum));
        writeln!(out, "{name}_sum{braces} {}.{:09}", nanoseconds / NANOS, nanoseconds % NANOS)?;
        writeln!(out, "{name}_count{braces} {count}")
    }

    fn total(&self, of: impl Fn(&Counts) -> Option<&AtomicU64>) -> u64 {
        self.0.iter().filter_map(of).map(|count| count.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

const NANOS: u64 = 1_000_000_000;

impl HistogramFn for Times {
    fn record(&self, seconds: f64) {
        let counts = self.0.mine();
        let bucket = SECONDS.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = counts.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it ends at the bounds")]
        counts.sum.fetch_add((seconds * 1e9) as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(times: &Times, labels: &str) -> String {
        let mut out = String::new();
        times.write("t_seconds", labels, &mut out).unwrap();
        out
    }

    #[test]
    fn a_time_counts_in_every_bucket_from_its_bound_on() {
        let times = Times::new();
        for seconds in [0.0, 0.001, 0.001_1, 299.0, 301.0] {
            times.record(seconds);
        }
        let page = page(&times, "method=\"ping\"");
        for line in [
            r#"t_seconds_bucket{method="ping",le="0.001"} 2"#,
            r#"t_seconds_bucket{method="ping",le="0.0025"} 3"#,
            r#"t_seconds_bucket{method="ping",le="120"} 3"#,
            r#"t_seconds_bucket{method="ping",le="300"} 4"#,
            r#"t_seconds_bucket{method="ping",le="+Inf"} 5"#,
            r#"t_seconds_sum{method="ping"} 600.002100000"#,
            r#"t_seconds_count{method="ping"} 5"#,
        ] {
            assert!(page.lines().any(|other| other == line), "{line} in\n{page}");
        }
    }

    #[test]
    fn threads_add_up() {
        let times = Times::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1_000).for_each(|_| times.record(0.5)));
            }
        });
        let page = page(&times, "");
        assert!(page.contains("t_seconds_count 8000\n") && page.contains("t_seconds_sum 4000.000000000\n"), "{page}");
    }
}
