//! A proxy as a process, with the CPU time that it and its workers have used.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::Fault;

/// A process that is asked to end when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` and waits until it takes connections at `address`.
    ///
    /// # Errors
    ///
    /// If it cannot be started, ends, or does not listen within ten seconds.
    pub fn start(command: &mut Command, address: SocketAddr) -> Result<Self, Fault> {
        let mut process = Self { child: command.spawn().map_err(|error| format!("{command:?}: {error}"))? };
        for _ in 0..200 {
            if TcpStream::connect(address).is_ok() {
                return Ok(process);
            }
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("{command:?} ended: {status}").into());
            }
            pause(Duration::from_millis(50));
        }
        Err(format!("{command:?} does not listen on {address}").into())
    }

    /// What the process and its children have used so far.
    pub(crate) fn cpu(&self) -> Cpu {
        let own = self.child.id();
        let pids = processes().filter(|(pid, stat)| *pid == own || stat.parent == own);
        pids.fold(Cpu::default(), |sum, (_, stat)| Cpu {
            user: sum.user + stat.cpu.user,
            system: sum.system + stat.cpu.system,
        })
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended already.
            let _ = kill_process(pid, signal);
        }
    }
}

/// SIGTERM, so that a master takes its workers along; SIGKILL if that does not help.
impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            pause(Duration::from_millis(50));
        }
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

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

/// An address on this machine where nothing listens at the moment.
///
/// # Errors
///
/// If there is none.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

struct Stat {
    parent: u32,
    cpu: Cpu,
}

fn processes() -> impl Iterator<Item = (u32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some((name.parse().ok()?, stat(&name)?))
    })
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

#[expect(clippy::disallowed_methods, reason = "nothing else is to be done meanwhile")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
