//! A proxy as a process that ends with the benchmark.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::proc::{self, Cpu, Memory};
use crate::{Fault, clock};

/// A process that is asked to end when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    spawned: Instant,
}

/// How long a process may take until it listens, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(10);

impl Process {
    /// Starts `command` and waits until it takes connections at `address`.
    ///
    /// # Errors
    ///
    /// If it cannot be started, ends, or does not listen within ten seconds.
    pub fn start(command: &mut Command, address: SocketAddr) -> Result<Self, Fault> {
        let spawned = clock::now();
        let child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let mut process = Self { child, spawned };
        while clock::now() < spawned + PATIENCE {
            if TcpStream::connect(address).is_ok() {
                return Ok(process);
            }
            if let Some(status) = process.child.try_wait()? {
                return Err(format!("{command:?} ended: {status}").into());
            }
            // Often enough for the time of a start to be told in milliseconds.
            pause(Duration::from_micros(500));
        }
        Err(format!("{command:?} does not listen on {address}").into())
    }

    /// What the process and its children have used so far.
    pub(crate) fn cpu(&self) -> Cpu {
        proc::cpu(self.child.id())
    }

    /// What they hold now.
    pub(crate) fn memory(&self) -> Memory {
        proc::memory(self.child.id())
    }

    /// What they hold now, in KiB; a page that they share counts once (PSS).
    pub fn pss_kib(&self) -> u64 {
        self.memory().pss_kib
    }

    /// From now on their peak is what they hold from now on.
    pub(crate) fn forget_peaks(&self) -> io::Result<()> {
        proc::forget_peaks(self.child.id())
    }

    /// How long ago it was started.
    pub(crate) fn age(&self) -> Duration {
        clock::now() - self.spawned
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
        let asked = clock::now();
        while clock::now() < asked + PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            pause(Duration::from_millis(20));
        }
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// An address on this machine where nothing listens at the moment.
///
/// # Errors
///
/// If there is none.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Does nothing on this thread for `time`, or a little longer.
#[expect(clippy::disallowed_methods, reason = "nothing else is to be done meanwhile")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
