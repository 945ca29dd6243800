//! Latencies in HDR histograms: microseconds, three significant digits, up to ten minutes.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::micros;

/// What is longer counts as this.
pub const LATENCY_MAX: Duration = Duration::from_secs(600);

/// Percentiles of latencies, in microseconds, exact to three digits. All are 0 if nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// How many were measured; more than there were calls where it is corrected.
    pub count: u64,
    /// The shortest.
    pub min: u64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: u64,
    /// Nine of ten are not above.
    pub p90: u64,
    /// 99 of a hundred are not above.
    pub p99: u64,
    /// 999 of a thousand are not above.
    pub p99_9: u64,
    /// The longest; at most [`LATENCY_MAX`].
    pub max: u64,
}

/// Latencies as they are measured.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    histogram: Option<Histogram<u64>>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let high = micros(LATENCY_MAX);
        // The bounds are constants that hdrhistogram accepts: a test below would fail.
        Self { histogram: Histogram::new_with_bounds(1, high, 3).ok() }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(micros(latency));
        }
    }

    /// Records `latency` and, where it is longer than `interval`, what calls that should have been made meanwhile would
    /// have seen.
    pub(crate) fn record_corrected(&mut self, latency: Duration, interval: Duration) {
        if let Some(histogram) = &mut self.histogram {
            // Within bounds, so nothing can be refused.
            let _ = histogram.record_correct(micros(latency.min(LATENCY_MAX)), micros(interval));
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if let (Some(into), Some(from)) = (&mut self.histogram, &other.histogram) {
            // Both have the same bounds.
            let _ = into.add(from);
        }
    }

    pub(crate) fn clear(&mut self) {
        if let Some(histogram) = &mut self.histogram {
            histogram.reset();
        }
    }

    pub(crate) fn summary(&self) -> Latency {
        let Some(histogram) = self.histogram.as_ref().filter(|histogram| !histogram.is_empty()) else {
            return Latency::default();
        };
        let at = |quantile| histogram.value_at_quantile(quantile);
        Latency {
            count: histogram.len(),
            min: histogram.min(),
            mean: histogram.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: histogram.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn percentiles_are_exact_to_three_digits() {
        let mut recorder = Recorder::new();
        for latency in 1..=1_000 {
            recorder.record(MS * latency);
        }
        let found = recorder.summary();
        assert_eq!((found.count, found.min / 1_000), (1_000, 1));
        for (found, expected) in
            [(found.p50, 500_000), (found.p90, 900_000), (found.p99, 990_000), (found.p99_9, 999_000)]
        {
            assert!(found.abs_diff(expected) * 1_000 <= expected, "{found} instead of {expected}");
        }
    }

    #[test]
    fn a_latency_over_ten_minutes_counts_as_ten_minutes() {
        let mut recorder = Recorder::new();
        recorder.record(LATENCY_MAX * 2);
        recorder.record_corrected(LATENCY_MAX * 2, LATENCY_MAX);
        assert_eq!(recorder.summary().count, 2);
        assert!(recorder.summary().max.abs_diff(micros(LATENCY_MAX)) < 1_000_000);
    }

    #[test]
    fn a_closed_loop_that_stalled_is_corrected_for_the_calls_it_omitted() {
        let (mut raw, mut corrected) = (Recorder::new(), Recorder::new());
        for latency in std::iter::repeat_n(MS, 99).chain([MS * 1_000]) {
            raw.record(latency);
            corrected.record_corrected(latency, MS * 10);
        }
        // The stall of a second hid 99 calls, half of which would have waited for half a second or more.
        assert_eq!(raw.summary().p90, 1_000);
        assert_eq!(corrected.summary().count, 199);
        assert!(corrected.summary().p90 > 700_000, "{:?}", corrected.summary());
    }
}
