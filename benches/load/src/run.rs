//! A run from its plan to its report.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::ControlFlow;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::watch;

use crate::clock::now;
use crate::connect::Dialer;
use crate::observer::Observer;
use crate::pacer::Pacer;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::Report;
use crate::site::Run;
use crate::tally::Tally;
use crate::tls::Tls;
use crate::worker::work;

/// Why there was no run, or why it broke off.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The URL's host has no address.
    #[error("cannot find the address of {host}")]
    Address {
        /// The host and port.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The certificates that are to be trusted cannot be used.
    #[error("cannot set up TLS")]
    Tls(#[source] io::Error),
    /// A thread or its runtime failed.
    #[error("thread {thread} failed")]
    Thread {
        /// Which, from 0.
        thread: usize,
        /// Why.
        source: io::Error,
    },
}

/// Time for all threads to be there before the schedule begins.
const LEAD: Duration = Duration::from_millis(10);

/// Carries `plan` out on threads of its own, and tells `progress` once a second. Returns when all sessions have ended, which
/// is at most the plan's timeout, twice, after its last phase.
///
/// If `progress` breaks, all connections are closed and the report is of what was there until then. Sessions are not ended;
/// calls that were out count nowhere.
///
/// # Errors
///
/// [`Fault`] if the run could not begin, or broke off. What a server does wrong is in the report.
pub fn run(plan: &Plan, mut progress: impl FnMut(&Progress) -> ControlFlow<()>) -> Result<Report, Fault> {
    let dialer = dialer(plan)?;
    let threads = plan.spec.threads;
    let run = Arc::new(Run {
        plan: plan.clone(),
        start: now() + LEAD,
        pacer: Pacer::new(&plan.schedule),
        dialer,
        salt: fastrand::u16(..),
        calling: AtomicUsize::new(threads),
        over: watch::Sender::new(false),
        stopped: watch::Sender::new(false),
    });
    let tallies: Vec<_> = (0..threads).map(|_| Arc::new(Mutex::new(Tally::new(plan)))).collect();
    let (alive, ended) = sync_channel(0);
    let mut workers = Vec::new();
    for (thread, tally) in tallies.iter().enumerate() {
        workers.push(spawn(Arc::clone(&run), Arc::clone(tally), thread, alive.clone())?);
    }
    drop(alive);
    let mut observer = Observer::new(&run, &tallies);
    watch_until_end(&mut observer, &ended, &mut progress);
    run.stopped.send_replace(true);
    for (thread, worker) in workers.into_iter().enumerate() {
        let worked = worker.join().unwrap_or_else(|_| Err(io::Error::other("it panicked")));
        worked.map_err(|source| Fault::Thread { thread, source })?;
    }
    Ok(observer.report())
}

fn watch_until_end(
    observer: &mut Observer<'_>,
    ended: &Receiver<()>,
    progress: &mut impl FnMut(&Progress) -> ControlFlow<()>,
) {
    // Nothing is ever sent: each thread drops its sender when it ends.
    while ended.recv_timeout(observer.next_look()) == Err(RecvTimeoutError::Timeout) {
        if observer.look().is_some_and(|seen| progress(&seen).is_break()) {
            return;
        }
    }
}

type Worker = thread::JoinHandle<io::Result<()>>;

fn spawn(run: Arc<Run>, tally: Arc<Mutex<Tally>>, thread: usize, alive: SyncSender<()>) -> Result<Worker, Fault> {
    let body = move || {
        let worked = work(run, tally, thread);
        drop(alive);
        worked
    };
    let spawned = thread::Builder::new().name(format!("mcp-load-{thread}")).spawn(body);
    spawned.map_err(|source| Fault::Thread { thread, source })
}

fn dialer(plan: &Plan) -> Result<Dialer, Fault> {
    let spec = &plan.spec;
    let host = plan.uri.host().unwrap_or_default();
    let tls = spec.trust.as_ref().filter(|_| plan.is_tls());
    let tls =
        tls.map(|trust| Tls::new(trust, host, spec.http2_connections.is_some())).transpose().map_err(Fault::Tls)?;
    let port = plan.uri.port_u16().unwrap_or(if plan.is_tls() { 443 } else { 80 });
    let address = address(host, port).map_err(|source| Fault::Address { host: format!("{host}:{port}"), source })?;
    Ok(Dialer::new(address, spec.sources.clone(), tls))
}

fn address(host: &str, port: u16) -> io::Result<SocketAddr> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host, port).to_socket_addrs()?.next().ok_or_else(|| io::Error::other("it has none"))
}
