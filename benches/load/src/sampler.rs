//! CPU time and memory of processes, from `/proc`. See proc_pid_stat(5).

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::plan::Watch;

/// Processes that are looked at again and again.
#[derive(Debug)]
pub(crate) struct Sampler {
    watched: Vec<Watched>,
    page_bytes: u64,
}

/// One watch: a process, or those of a name.
#[derive(Debug)]
pub(crate) struct Watched {
    watch: Watch,
    /// By id and start time, which tells a process from a later one with its id.
    seen: BTreeMap<(u32, u64), Cpu>,
    pub(crate) processes: usize,
    pub(crate) rss_bytes: u64,
    pub(crate) rss_peak_bytes: u64,
}

#[derive(Debug)]
struct Cpu {
    before: Duration,
    last: Duration,
}

#[derive(Debug)]
struct Stat {
    name: String,
    start: u64,
    cpu: Duration,
    rss_pages: u64,
}

impl Sampler {
    /// Takes the first sample, from which CPU time counts.
    pub(crate) fn new(watches: impl IntoIterator<Item = Watch>) -> Self {
        let watched = watches.into_iter().map(Watched::new).collect();
        let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
        let mut sampler = Self { watched, page_bytes };
        sampler.sample();
        for cpu in sampler.watched.iter_mut().flat_map(|watched| watched.seen.values_mut()) {
            cpu.before = cpu.last;
        }
        sampler
    }

    pub(crate) fn sample(&mut self) {
        let is_by_name = self.watched.iter().any(|watched| watched.watch.pid.is_none());
        let all = if is_by_name { processes() } else { Vec::new() };
        for watched in &mut self.watched {
            match watched.watch.pid {
                Some(pid) => watched.see(stat(pid).iter().map(|stat| (pid, stat)), self.page_bytes),
                None => {
                    let name = comm(&watched.watch.name).to_owned();
                    let named = all.iter().filter(|(_, stat)| stat.name == name);
                    watched.see(named.map(|(pid, stat)| (*pid, stat)), self.page_bytes);
                }
            }
        }
    }

    pub(crate) fn watched(&self) -> &[Watched] {
        &self.watched
    }
}

impl Watched {
    fn new(watch: Watch) -> Self {
        Self { watch, seen: BTreeMap::new(), processes: 0, rss_bytes: 0, rss_peak_bytes: 0 }
    }

    pub(crate) fn name(&self) -> &str {
        &self.watch.name
    }

    /// CPU time since the first sample. What a process used between its last sample and its end is not in it.
    pub(crate) fn cpu(&self) -> Duration {
        self.seen.values().map(|cpu| cpu.last.saturating_sub(cpu.before)).sum()
    }

    fn see<'a>(&mut self, processes: impl Iterator<Item = (u32, &'a Stat)>, page_bytes: u64) {
        (self.processes, self.rss_bytes) = (0, 0);
        for (pid, stat) in processes {
            self.processes += 1;
            self.rss_bytes += stat.rss_pages * page_bytes;
            let new = Cpu { before: Duration::ZERO, last: stat.cpu };
            self.seen.entry((pid, stat.start)).and_modify(|cpu| cpu.last = stat.cpu).or_insert(new);
        }
        self.rss_peak_bytes = self.rss_peak_bytes.max(self.rss_bytes);
    }
}

/// A name as the kernel keeps it: its first 15 bytes.
fn comm(name: &str) -> &str {
    name.get(..name.floor_char_boundary(15)).unwrap_or(name)
}

fn processes() -> Vec<(u32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(text: &str) -> Option<Stat> {
    // The name may hold anything, but what follows its last parenthesis is the third field.
    let (before, after) = text.rsplit_once(')')?;
    let name = before.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    // Linux reports in hundredths of a second, whatever it counts in.
    let cpu = Duration::from_millis((field(14)? + field(15)?) * 10);
    Some(Stat { name, start: field(22)?, cpu, rss_pages: field(24)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_after_a_name_with_parentheses() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194304 1 0 0 0 120 30 0 0 20 0 1 0 999 5000 25 18446744073709551615";
        let stat = parse(stat).unwrap();
        assert_eq!((stat.name.as_str(), stat.start, stat.rss_pages), ("a (b) c", 999, 25));
        assert_eq!(stat.cpu, Duration::from_millis(1_500));
    }

    #[test]
    fn a_process_that_starts_later_counts_from_its_start_and_one_that_ended_stays() {
        let mut watched = Watched::new(Watch { name: "node".into(), pid: None });
        let stat =
            |start, cpu, rss_pages| Stat { name: "node".into(), start, cpu: Duration::from_secs(cpu), rss_pages };
        watched.see([(1, &stat(5, 3, 10)), (2, &stat(6, 1, 10))].into_iter(), 4096);
        watched.see([(2, &stat(6, 2, 30))].into_iter(), 4096);
        watched.see([(1, &stat(9, 4, 10))].into_iter(), 4096);
        assert_eq!(watched.cpu(), Duration::from_secs(3 + 2 + 4));
        assert_eq!((watched.processes, watched.rss_bytes, watched.rss_peak_bytes), (1, 40_960, 122_880));
    }

    #[test]
    fn a_process_is_found_by_its_id_and_by_its_name() {
        let pid = std::process::id();
        let name = stat(pid).unwrap().name;
        let watches = [Watch { name: "by id".into(), pid: Some(pid) }, Watch { name, pid: None }];
        for watched in Sampler::new(watches).watched() {
            assert!(watched.processes >= 1 && watched.rss_bytes > 0, "{watched:?}");
        }
    }

    #[test]
    fn a_process_that_starts_later_is_found_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("mcp-load-later");
        fs::copy("/bin/cat", &program).unwrap();
        let mut sampler = Sampler::new([Watch { name: "mcp-load-later".into(), pid: None }]);
        assert_eq!(sampler.watched()[0].processes, 0);
        let mut child = std::process::Command::new(program).stdin(std::process::Stdio::piped()).spawn().unwrap();
        // It is seen before it has memory of its own.
        while sampler.watched()[0].rss_bytes == 0 {
            sampler.sample();
        }
        assert_eq!(sampler.watched()[0].processes, 1);
        drop(child.stdin.take());
        child.wait().unwrap();
        sampler.sample();
        assert_eq!((sampler.watched()[0].processes, sampler.watched()[0].rss_bytes), (0, 0));
        assert!(sampler.watched()[0].rss_peak_bytes > 0);
    }

    #[test]
    fn a_long_name_is_compared_as_the_kernel_keeps_it() {
        assert_eq!(comm("mcp-guard-sidecar"), "mcp-guard-sidec");
    }
}
