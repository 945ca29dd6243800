//! A new process takes the place of this one, and no connection is refused meanwhile: pingora passes the listening sockets on.
//!
//! ```text
//! old  serves ─────── SIGQUIT ─ sockets ─▶ serves, closing after each answer ─ 2 s ─▶ accepts no more, drains ─▶ ends
//! new  run --upgrade PID ─▶ waits at the socket ─▶ has them ─▶ starts ─▶ serves
//! ```
//!
//! Both accept from the same sockets for a while, so whoever connects is served by one of them. What the old one has accepted ends
//! there; sessions go on in the new one ([`Exchange`]).

mod exchange;
#[cfg(test)]
#[path = "../../../fuzz/checks/hand_over.rs"]
mod fuzz_check;
mod heir;
mod leftovers;
mod link;
mod message;
mod other;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use rustix::process::{Pid, Signal, kill_process};

pub(crate) use exchange::STATELESS;
pub use exchange::{Exchange, Kept};
pub use heir::Heir;

/// For so long both processes accept: the new one looks for the sockets each second, and has to start.
pub const BOTH_ACCEPT: Duration = Duration::from_secs(2);

/// The most sockets that pingora passes on.
pub const SOCKETS_MAX: usize = 32;

/// What is passed on: the listening sockets of this process, once its services run. Clones are the same.
#[derive(Clone)]
pub struct Sockets {
    sockets: Arc<OnceLock<ListenFds>>,
    /// How many there are once all services listen.
    count: usize,
}

/// The most bytes of their names that pingora passes on, with a space between two.
const NAME_BYTES_MAX: usize = 2_048;

impl Sockets {
    /// Of a process that listens with so many sockets.
    pub fn new(count: usize) -> Self {
        Self { sockets: Arc::default(), count }
    }

    /// Sends them to the process that waits at `path`. Blocks, for some seconds if nobody waits there.
    ///
    /// # Errors
    ///
    /// What went wrong.
    pub fn send(&self, path: &Path) -> Result<(), String> {
        let sockets = self.sockets.get().ok_or("the guard has not started yet")?.lock();
        let (names, _) = sockets.serialize();
        if names.len() < self.count {
            return Err("the guard has not started yet".into());
        }
        if names.len() > SOCKETS_MAX {
            return Err(format!("there are more than {SOCKETS_MAX} listening sockets, one for each listener and core"));
        }
        // Pingora would read other names out of these, and its process would end.
        if names.iter().any(|name| name.contains(|letter: char| letter.is_ascii_whitespace())) {
            return Err("the path of a listening socket contains a space".into());
        }
        if names.iter().map(|name| name.len() + 1).sum::<usize>() > NAME_BYTES_MAX {
            return Err(format!("the addresses of the listening sockets have more than {NAME_BYTES_MAX} bytes"));
        }
        let path = path.to_str().ok_or("the path is no UTF-8")?;
        sockets.send_to_sock(path).map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// Pingora hands the sockets to each service that it starts, and to nobody else.
#[async_trait]
impl Service for Sockets {
    async fn start_service(&mut self, sockets: Option<ListenFds>, _: ShutdownWatch, _: usize) {
        if let Some(sockets) = sockets {
            // It is started once.
            let _ = self.sockets.set(sockets);
        }
    }

    /// It listens at none itself; if it did not say so, nobody would close those that the new config has no use for.
    fn listen_addresses(&self) -> Option<Vec<String>> {
        Some(Vec::new())
    }

    fn name(&self) -> &'static str {
        "sockets"
    }

    fn threads(&self) -> Option<usize> {
        Some(1)
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Whom this process takes the place of.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the command line and the config")]
pub struct Predecessor {
    /// Its process id.
    pub pid: u32,
    /// Where it sends its sockets.
    pub path: PathBuf,
}

impl Predecessor {
    /// Whether it is a guard, as far as can be told: any other process would end by what it is asked.
    pub fn is_guard(&self) -> bool {
        let name = |process: &str| std::fs::read_to_string(format!("/proc/{process}/comm")).ok();
        name(&self.pid.to_string()) == name("self")
    }

    /// Asks it for its sockets, shortly before this process waits for them.
    ///
    /// # Errors
    ///
    /// If there is no such process, or it may not be asked.
    pub fn ask(&self) -> io::Result<()> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        Ok(kill_process(pid, Signal::QUIT)?)
    }
}
