//! Counters of calls.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, CounterFn};

use super::lock;
use super::stripes::Stripes;

/// A counter that threads add to side by side. The exporter's is told when the page is asked for.
pub(super) struct Striped {
    added: Stripes<AtomicU64>,
    exported: Mutex<Exported>,
}

struct Exported {
    counter: Counter,
    so_far: u64,
}

impl Striped {
    /// Adds up for `counter`.
    pub(super) fn new(counter: Counter) -> Self {
        Self { added: Stripes::new(), exported: Mutex::new(Exported { counter, so_far: 0 }) }
    }

    /// Tells the exporter what came since the last time.
    pub(super) fn export(&self) {
        let mut exported = lock(&self.exported);
        let total = self.added.iter().map(|added| added.load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
        exported.counter.increment(total.wrapping_sub(exported.so_far));
        exported.so_far = total;
    }
}

impl CounterFn for Striped {
    fn increment(&self, value: u64) {
        self.added.mine().fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, value: u64) {
        lock(&self.exported).counter.absolute(value);
    }
}

impl fmt::Debug for Striped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Striped").finish_non_exhaustive()
    }
}
