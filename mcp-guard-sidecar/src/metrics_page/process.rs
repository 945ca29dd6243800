//! The metrics that Prometheus' client libraries tell of their process, under their names, where the system is Linux
//! ([process metrics](https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics)).
//!
//! Written here, since counters of the `metrics` crate are whole numbers and CPU seconds are not.

use std::fmt::Write;
use std::fs;
use std::sync::OnceLock;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// What `/proc/self/stat` says, in its own units.
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The fields by their numbers in proc(5), less the two up to the name, which may contain anything.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// Appends them to a page.
pub(super) fn write(page: &mut String) {
    let Some(stat) = Stat::read() else { return };
    let ticks = clock_ticks_per_second().max(1);
    let mut tell = |name: &str, kind: &str, help: &str, value: String| {
        // Writing to a string does not fail.
        let _ = write!(page, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
    };
    #[expect(clippy::cast_precision_loss, reason = "nobody computes for 2^52 ticks")]
    let seconds = |count: u64| (count as f64 / ticks as f64).to_string();
    let cpu = "CPU time that the process has used, in seconds.";
    tell("process_cpu_seconds_total", "counter", cpu, seconds(stat.cpu_ticks));
    let resident = stat.resident_pages.saturating_mul(u64::try_from(page_size()).unwrap_or(u64::MAX));
    tell("process_resident_memory_bytes", "gauge", "Memory that is in use and not swapped out.", resident.to_string());
    tell("process_virtual_memory_bytes", "gauge", "Addresses that are reserved.", stat.virtual_bytes.to_string());
    tell("process_threads", "gauge", "Threads of the process.", stat.threads.to_string());
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // The directory itself is open too.
        let open = files.count().saturating_sub(1);
        tell("process_open_fds", "gauge", "Open file descriptors.", open.to_string());
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        tell("process_max_fds", "gauge", "File descriptors that may be open.", most.to_string());
    }
    if let Some(start) = start_seconds(stat.start_ticks, ticks) {
        tell("process_start_time_seconds", "gauge", "When the process began; seconds since 1970.", start.to_string());
    }
}

/// When the process began. It is told the same for as long as the process lives, however the clock is set meanwhile.
fn start_seconds(start_ticks: u64, ticks: u64) -> Option<u64> {
    static START: OnceLock<Option<u64>> = OnceLock::new();
    *START.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<u64>().ok()?;
        Some(boot + start_ticks / ticks)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_contain_anything() {
        let text = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 100 23 0 0 20 0 5 0 777 4096 12 0";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.cpu_ticks, stat.threads, stat.start_ticks), (123, 5, 777));
        assert_eq!((stat.virtual_bytes, stat.resident_pages), (4096, 12));
        assert!(Stat::parse("42 no name").is_none());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn all_of_them_are_told() {
        let mut page = String::new();
        write(&mut page);
        assert_eq!(page.matches("# TYPE process_").count(), 7, "{page}");
    }
}
