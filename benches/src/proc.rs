//! What Linux says of a process and its children: CPU time and memory.

use std::fs;
use std::time::Duration;

/// CPU time, in the process's own code and in the kernel on its behalf.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cpu {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
}

impl Cpu {
    pub(crate) fn all(self) -> Duration {
        self.user + self.system
    }
}

impl std::ops::Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { user: self.user - earlier.user, system: self.system - earlier.system }
    }
}

/// Memory in KiB, of all processes of a family together; what the kernel holds for their sockets is not in it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident; pages that a master shares with its workers count in each of them.
    pub(crate) rss_kib: u64,
    /// Resident; a shared page counts once, a part in each process that has it.
    pub(crate) pss_kib: u64,
    /// The most that was resident since the last [`forget_peaks`].
    pub(crate) peak_kib: u64,
}

/// What `pid` and its children have used so far.
pub(crate) fn cpu(pid: u32) -> Cpu {
    family(pid).fold(Cpu::default(), |sum, (_, stat)| Cpu {
        user: sum.user + stat.cpu.user,
        system: sum.system + stat.cpu.system,
    })
}

/// What `pid` and its children hold now; a figure that may not be read is 0.
pub(crate) fn memory(pid: u32) -> Memory {
    family(pid).fold(Memory::default(), |sum, (pid, _)| {
        let status = read(pid, "status");
        let rollup = read(pid, "smaps_rollup");
        Memory {
            rss_kib: sum.rss_kib + kib(&status, "VmRSS"),
            pss_kib: sum.pss_kib + kib(&rollup, "Pss"),
            peak_kib: sum.peak_kib + kib(&status, "VmHWM"),
        }
    })
}

/// Makes the present size of `pid` and its children their peak; see `clear_refs` in proc(5).
pub(crate) fn forget_peaks(pid: u32) -> std::io::Result<()> {
    family(pid).try_for_each(|(pid, _)| fs::write(format!("/proc/{pid}/clear_refs"), "5"))
}

/// CPU time of this process so far: load and node.
pub(crate) fn own_cpu() -> Duration {
    stat("self").map(|stat| stat.cpu.all()).unwrap_or_default()
}

/// CPU time that the whole machine has used so far, on all cores.
pub(crate) fn machine_cpu() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    // user nice system idle iowait irq softirq steal
    let busy = fields.take(8).enumerate().filter(|(place, _)| !matches!(place, 3 | 4));
    ticks(busy.filter_map(|(_, ticks)| ticks.parse::<u64>().ok()).sum())
}

struct Stat {
    parent: u32,
    cpu: Cpu,
}

/// `pid` and its children.
fn family(pid: u32) -> impl Iterator<Item = (u32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name.parse().ok()?, stat(&name)?))
    });
    processes.filter(move |(found, stat)| *found == pid || stat.parent == pid)
}

fn read(pid: u32, file: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

/// The figure in the line `name: figure kB`; 0 without one.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What `/proc/PID/stat` says; see proc_pid_stat(5).
fn stat(pid: &str) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, but what follows its last parenthesis is the third field.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let cpu = Cpu { user: ticks(field(14)?), system: ticks(field(15)?) };
    Some(Stat { parent: u32::try_from(field(4)?).ok()?, cpu })
}

/// Linux reports in hundredths of a second, whatever it counts in.
fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_by_its_whole_name() {
        let text = "Pss_Anon:  7 kB\nPss:  40 kB\nPss_File: 3 kB\n";
        assert_eq!(kib(text, "Pss"), 40);
        assert_eq!(kib(text, "Rss"), 0);
    }

    #[test]
    fn this_process_holds_memory_and_has_had_as_much() {
        let memory = memory(std::process::id());
        assert!(memory.pss_kib > 0 && memory.rss_kib >= memory.pss_kib / 2 && memory.peak_kib >= memory.rss_kib / 2);
    }
}
