//! How much memory is in use, and what is let in while it is short.
//!
//! | mark   | at       | what is refused, as `memory_pressure`                                                |
//! |--------|----------|--------------------------------------------------------------------------------------|
//! | first  | 80 %     | calls of tools that would have to wait for a place, or are larger than 64 KiB        |
//! | second | 90 %     | and reads that would have to wait, new sessions, new streams                         |
//! | third  | the limit | everything, unread; the guard is not ready, until there is memory again             |
//!
//! The limit is that of the process (`limits.memory`, against what is resident), or that of the cgroup (95 % of it, against what
//! its processes use and the kernel cannot simply drop), whichever is nearer. A mark ends 5 points below where it began, so that it
//! does not come and go with each look. The kernel's word that processes of the cgroup stand still for want of memory (PSI, cgroup
//! v2) counts too: a tenth of the time is the first mark, three tenths the second.

mod cgroup;
mod watchdog;

use std::sync::atomic::{AtomicU64, Ordering};

use mcp_guard::queue::{Mark, Pressure};
use metrics::gauge;

pub use cgroup::{Cgroup, Usage};
pub use watchdog::Watchdog;

/// What is let in, decided by each look at the memory in use.
#[derive(Debug)]
pub struct Memory {
    bytes_max: AtomicU64,
    pressure: Pressure,
}

/// What a look at the memory has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "made by tests too")]
pub struct Sample {
    /// What the process has resident, in bytes.
    pub resident: u64,
    /// What the cgroup uses.
    pub cgroup: Option<Usage>,
}

/// How much of the cgroup's limit counts as all of it: beyond it the kernel kills.
const CGROUP_PERCENT: u64 = 95;

impl Memory {
    /// For a process that may have `bytes_max`. What it decides, `pressure` tells the concerns.
    pub fn new(bytes_max: u64, pressure: Pressure) -> Self {
        Self { bytes_max: AtomicU64::new(bytes_max), pressure }
    }

    /// Another limit, from the next look on.
    pub fn set_limit(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Takes note of what is in use.
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 bytes")]
    pub fn sampled(&self, sample: Sample) {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let of_cgroup = sample.cgroup.map(|usage| (usage.bytes, usage.bytes_max / 100 * CGROUP_PERCENT));
        let used = of_cgroup.into_iter().chain([(sample.resident, bytes_max)]);
        let used = used.map(|(bytes, max)| bytes.saturating_mul(1000) / max.max(1)).max().unwrap_or_default();
        let stalled = sample.cgroup.and_then(|usage| usage.stalled).unwrap_or_default();
        let before = self.mark();
        let mark = before.next(used, stalled);
        if mark != before {
            tracing::warn!(?sample, bytes_max, ?mark, "memory");
            self.pressure.set(mark);
        }
        gauge!("mcp_guard_memory_pressure").set(f64::from(mark as u8));
        let limit = sample.cgroup.map_or(bytes_max, |usage| usage.bytes_max.min(bytes_max));
        gauge!("mcp_guard_memory_limit_bytes").set(limit as f64);
    }

    /// The mark that is reached.
    pub fn mark(&self) -> Mark {
        self.pressure.get()
    }

    /// Whether all is to be refused.
    pub fn sheds(&self) -> bool {
        self.mark() == Mark::Third
    }
}

/// The memory that is in use and not swapped out (RSS), where the system tells it as Linux does; children have their own.
pub fn resident_bytes() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?.split_whitespace().nth(1)?.parse::<u64>().ok()?;
    Some(pages.saturating_mul(u64::try_from(rustix::param::page_size()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Memory {
        Memory::new(1000, Pressure::default())
    }

    #[test]
    fn the_cgroup_counts_where_it_is_nearer_to_its_limit() {
        let memory = memory();
        for (bytes, mark) in
            [(700, Mark::None), (800, Mark::First), (900, Mark::Second), (951, Mark::Third), (1, Mark::None)]
        {
            let cgroup = Some(Usage { bytes, bytes_max: 1000, stalled: None });
            memory.sampled(Sample { resident: 1, cgroup });
            assert_eq!(memory.mark(), mark, "{bytes}");
        }
        memory.sampled(Sample { resident: 1001, cgroup: Some(Usage { bytes: 1, bytes_max: 1000, stalled: None }) });
        assert!(memory.sheds());
    }

    #[test]
    fn what_the_cgroup_tells_of_stalls_counts() {
        let memory = memory();
        memory.sampled(Sample { resident: 1, cgroup: Some(Usage { bytes: 1, bytes_max: 1000, stalled: Some(30.0) }) });
        assert_eq!(memory.mark(), Mark::Second);
    }

    #[test]
    fn another_limit_counts_from_the_next_look_on() {
        let memory = memory();
        memory.sampled(Sample { resident: 1001, cgroup: None });
        memory.set_limit(2000);
        assert!(memory.sheds());
        memory.sampled(Sample { resident: 1001, cgroup: None });
        assert_eq!(memory.mark(), Mark::None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_takes_some_memory_and_less_than_all() {
        let bytes = resident_bytes().unwrap();
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
    }
}
