//! How much memory the process has, and whether that is too much to take new work.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Whether new work is shed, decided by each sample of the memory in use.
#[derive(Debug)]
pub struct Memory {
    bytes_max: AtomicU64,
    sheds: AtomicBool,
}

/// How much of the limit must be in use for shedding to go on. Between this and the limit nothing changes, so that it
/// does not begin and end with each sample.
const RELEASE_PERCENT: u64 = 95;

impl Memory {
    /// Sheds above `bytes_max`.
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max: AtomicU64::new(bytes_max), sheds: AtomicBool::new(false) }
    }

    /// Another limit, from the next sample on.
    pub fn set_limit(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Takes note of what is in use.
    pub fn sampled(&self, bytes: u64) {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let bound = if self.sheds() { bytes_max / 100 * RELEASE_PERCENT } else { bytes_max };
        let sheds = bytes > bound;
        if sheds != self.sheds() {
            tracing::warn!(bytes, bytes_max, sheds, "memory");
            self.sheds.store(sheds, Ordering::Relaxed);
        }
    }

    /// Whether new work is to be refused.
    pub fn sheds(&self) -> bool {
        self.sheds.load(Ordering::Relaxed)
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

    #[test]
    fn shedding_ends_only_well_below_the_limit() {
        let memory = Memory::new(1000);
        for (bytes, sheds) in [(1000, false), (1001, true), (1000, true), (951, true), (950, false), (1000, false)] {
            memory.sampled(bytes);
            assert_eq!(memory.sheds(), sheds, "{bytes}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_takes_some_memory_and_less_than_all() {
        let bytes = resident_bytes().unwrap();
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
    }
}
