//! What the queue reports.

use std::fmt;
use std::time::Duration;

use metrics::{Gauge, Histogram, gauge, histogram};

use super::node_queue::Levels;

/// Handles of the queue's metrics, looked up once.
///
/// The gauges are moved, not set, so that the queues of several nodes add up.
pub(super) struct Meters {
    in_flight: Gauge,
    waiting: Gauge,
    limit: Gauge,
    wait: Histogram,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            in_flight: gauge!("mcp_guard_in_flight"),
            waiting: gauge!("mcp_guard_queue_depth"),
            limit: gauge!("mcp_guard_concurrency_limit"),
            wait: histogram!("mcp_guard_queue_wait_seconds"),
        }
    }

    /// The queue went from `before` to `after`.
    pub(super) fn moved(&self, before: Levels, after: Levels) {
        shift(&self.in_flight, before.in_flight, after.in_flight);
        shift(&self.waiting, before.waiting, after.waiting);
        shift(&self.limit, before.limit, after.limit);
    }

    /// A call was admitted after it waited so long, which may be zero.
    pub(super) fn waited(&self, wait: Duration) {
        self.wait.record(wait.as_secs_f64());
    }
}

fn shift(gauge: &Gauge, before: u32, after: u32) {
    if after > before {
        gauge.increment(f64::from(after - before));
    } else if before > after {
        gauge.decrement(f64::from(before - after));
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}
