//! What is told of a run while it goes on.

use std::fmt;
use std::time::Duration;

/// How a run stands, about once a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Since the start.
    pub time: Duration,
    /// The phase, from 0. The number of phases, while the last sessions end.
    pub phase: usize,
    /// Sessions that are open, idle ones included.
    pub sessions_open: u64,
    /// Idle GET streams that are open.
    pub streams_open: u64,
    /// Calls so far, failed ones included.
    pub calls: u64,
    /// Failures of all stages so far.
    pub failures: u64,
    /// Calls a second since the last time.
    pub calls_per_second: f64,
    /// The median latency since the last time, in microseconds.
    pub p50_us: u64,
    /// The 99th percentile since the last time, in microseconds.
    pub p99_us: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { phase, sessions_open, calls_per_second, p50_us, p99_us, failures, .. } = self;
        let seconds = self.time.as_secs();
        write!(f, "{seconds:>4} s  phase {:<2}  {sessions_open:>7} sessions", phase + 1)?;
        if self.streams_open > 0 {
            write!(f, "  {:>7} streams", self.streams_open)?;
        }
        write!(f, "  {calls_per_second:>9.0} calls/s  p50 {p50_us:>7} us  p99 {p99_us:>8} us  {failures} failures")
    }
}
