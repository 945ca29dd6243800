//! Pingora's server and services put together: who listens where with what (ADR 0001).

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pingora::apps::ServerApp;
use pingora::listeners::{ListenerConfig, TcpSocketOptions};
use pingora::protocols::TcpKeepalive;
use pingora::protocols::l4::stream::L4BufferSettings;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch};
use pingora::services::listening::Service;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{ListenAddress, Shutdown};
use crate::drain::Drain;
use crate::hand_over::{BOTH_ACCEPT, Exchange, Predecessor, Sockets};
use crate::reload::Reload;

/// One service with one thread, and so one runtime, for each core.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How many sockets, and so services, listen at `address`: one for each core, and only one on a Unix socket.
pub fn sockets(address: &ListenAddress) -> usize {
    if matches!(address, ListenAddress::Tcp(_)) { cores() } else { 1 }
}

/// A server of pingora's that leaves scheduling, signals and the end to us.
///
/// Its runtimes do not steal work, so that accept, call and upstream stay on one core; its own grace period is a
/// sleep, and only entered after a hand-over: then [`Drain`] does its work meanwhile, and ends the process.
///
/// One with a `predecessor` gets its sockets from that one, in [`run`].
pub fn server(predecessor: Option<&Predecessor>) -> Server {
    let mut configuration = ServerConf {
        threads: 1,
        work_stealing: false,
        grace_period_seconds: Some(FOR_EVER),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut options = Opt::default();
    if let Some(Predecessor { path, .. }) = predecessor {
        options.upgrade = true;
        configuration.upgrade_sock = path.display().to_string();
    }
    Server::new_with_opt_and_conf(Some(options), configuration)
}

/// A week, in seconds.
const FOR_EVER: u64 = 7 * 24 * 60 * 60;

/// A service that listens on `address` with one thread.
///
/// Pingora hands one socket to all services that name the same address. Leading zeros of the port make the names
/// differ, so each core has a socket of its own under SO_REUSEPORT and the kernel spreads connections over them. A Unix
/// socket is one, and served by one thread.
pub fn listening<A: ServerApp + Send + Sync + 'static>(app: A, address: &ListenAddress, core: usize) -> Service<A> {
    let mut service = Service::new(format!("{address} core {core}"), app);
    let listener = match address {
        ListenAddress::Tcp(address) => {
            let mut options = TcpSocketOptions::default();
            options.so_reuseport = Some(true);
            options.tcp_keepalive = Some(keep_alive());
            let name = format!("{}:{}{}", host(*address), "0".repeat(core), address.port());
            ListenerConfig::tcp(name).tcp_socket_options(options)
        }
        ListenAddress::Unix(path) => {
            ListenerConfig::uds(path.to_string_lossy()).permissions(Permissions::from_mode(SOCKET_MODE))
        }
    };
    // What is written is one piece already (`http1/outbox.rs`), and hyper buffers; a buffer under them costs 11 KB a connection.
    service.add_listener(listener.l4_buffer(L4BufferSettings::unbuffered()));
    service.threads = Some(1);
    service
}

/// Owner and group.
const SOCKET_MODE: u32 = 0o660;

/// When a client that has vanished is noticed: two minutes after its last sign of life, be it asked or sent something.
fn keep_alive() -> TcpKeepalive {
    TcpKeepalive {
        idle: Duration::from_secs(60),
        interval: Duration::from_secs(15),
        count: 4,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::from_secs(120),
    }
}

fn host(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

/// The address to listen on: `address`, with a free port in place of 0.
///
/// # Errors
///
/// If somebody else listens there. SO_REUSEPORT would not notice: two guards would silently share the port. Or if there is
/// a file that is no socket: a socket that nobody listens at is left of a guard that has ended, and replaced.
pub fn claim(address: &ListenAddress) -> io::Result<ListenAddress> {
    match address {
        ListenAddress::Tcp(address) => claim_port(*address).map(ListenAddress::Tcp),
        ListenAddress::Unix(path) => claim_socket(path).map(|()| address.clone()),
    }
}

fn claim_socket(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path).map(|file| file.file_type()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(file) if !file.is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => {
            // Only a refusal says for sure that nobody is there, and a full backlog would be waited for.
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            match rustix::net::connect(&socket, &SocketAddrUnix::new(path)?) {
                Err(Errno::CONNREFUSED) => fs::remove_file(path)?,
                Ok(()) | Err(Errno::AGAIN) => return Err(io::ErrorKind::AddrInUse.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }
    // What the service will do when it starts: if that cannot be, nobody would be told.
    drop(UnixListener::bind(path)?);
    fs::remove_file(path)
}

/// The same for TCP.
///
/// # Errors
///
/// If somebody else listens there.
pub fn claim_port(address: SocketAddr) -> io::Result<SocketAddr> {
    TcpListener::bind(address)?.local_addr()
}

/// Waits for the sockets of the `predecessor`, if there is one; nothing that can fail may come behind that, since the other
/// serves no more then. Without them, the process ends with code 1.
///
/// # Errors
///
/// If the predecessor cannot be asked.
pub fn bootstrap(server: &mut Server, predecessor: Option<&Predecessor>) -> io::Result<()> {
    predecessor.map_or(Ok(()), Predecessor::ask)?;
    server.bootstrap();
    Ok(())
}

/// Runs a server that is bootstrapped until a signal and the drain that follows it are over.
pub fn run(server: Server, ending: Ending) -> End {
    let end = Arc::clone(&ending.end);
    server.run(RunArgs { shutdown_signal: Box::new(ending) });
    // It runs until that is known.
    end.get().copied().unwrap_or(End::InOrder)
}

/// How the process has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are the two")]
pub enum End {
    /// Whoever was accepted was answered.
    InOrder,
    /// Connections were open when the drain was over, or cut short.
    CutOff,
}

/// What is done last.
pub type Finish = Box<dyn Fn() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What happens between a signal and the exit.
pub struct Ending {
    drain: Drain,
    reload: Reload,
    sockets: Sockets,
    exchange: Exchange,
    finish: Arc<Finish>,
    end: Arc<OnceLock<End>>,
    /// What is left to be done when the process ends by itself.
    last: Arc<dyn Fn() + Send + Sync>,
}

impl Ending {
    /// Drains as long as the config that counts then allows, and runs `finish`; after a hand-over of the sockets and sessions then
    /// `last`.
    pub fn new(
        drain: Drain,
        reload: Reload,
        (sockets, exchange): (Sockets, Exchange),
        finish: Finish,
        last: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        Self { drain, reload, sockets, exchange, finish: Arc::new(finish), end: Arc::default(), last: Arc::new(last) }
    }

    /// Waits until the process has to end, and says how it does.
    async fn asked(&self, signals: &mut Signals) -> Asked {
        loop {
            tokio::select! {
                // Who is to end does not hand over any more.
                biased;
                () = next(&mut signals.terminate) => return Asked::ToEnd,
                () = next(&mut signals.interrupt) => return Asked::ToEnd,
                () = self.drain.begun() => return Asked::ToEnd,
                () = next(&mut signals.quit) => {}
            }
            let Some(path) = self.reload.config().shutdown().hand_over.clone() else {
                tracing::warn!("SIGQUIT hands the sockets over at shutdown.hand_over, which is not set");
                continue;
            };
            let (sockets, to) = (self.sockets.clone(), path.clone());
            // It serves as soon as it has them.
            self.exchange.expect_successor(true);
            match tokio::task::spawn_blocking(move || sockets.send(&to)).await {
                Ok(Ok(())) => {
                    if let Err(error) = self.exchange.offer(&path).await {
                        self.exchange.expect_successor(false);
                        tracing::warn!(%error, "the sessions stay here, and end with this process");
                    }
                    return Asked::ToHandOver;
                }
                Ok(Err(error)) => tracing::error!(error, "the sockets were not handed over: this process serves on"),
                Err(error) => tracing::error!(%error, "the sockets were not handed over: this process serves on"),
            }
            self.exchange.expect_successor(false);
        }
    }

    /// What follows a hand-over, once this process accepts no more: it drains, and ends.
    fn end_by_itself(&self, mut signals: Signals) {
        let (drain, reload) = (self.drain.clone(), self.reload.clone());
        let (exchange, finish, last) = (self.exchange.clone(), Arc::clone(&self.finish), Arc::clone(&self.last));
        let work = tokio::spawn(async move {
            // Who was accepted last has its answer, like all before.
            tokio::time::sleep(LAST_ACCEPTED).await;
            let config = reload.config();
            // Nobody has asked this process to end yet.
            let cut = async {
                signals.end().await;
                signals.end().await;
            };
            let end = end(&drain, config.shutdown(), (&exchange, &finish), cut).await;
            let _ = tokio::task::spawn_blocking(move || last()).await;
            end
        });
        tokio::spawn(async move {
            // The host sleeps until then, however the work ends.
            let is_good = matches!(work.await, Ok(End::InOrder));
            std::process::exit(i32::from(!is_good));
        });
    }
}

/// How long connections that were accepted last may take to send their request.
const LAST_ACCEPTED: Duration = Duration::from_secs(1);

/// Why the process has to end.
enum Asked {
    ToEnd,
    ToHandOver,
}

/// Drains, unless `cut` comes before that is over, and does what is done last. Says how the drain has ended.
async fn end(
    drain: &Drain,
    limits: &Shutdown,
    (exchange, finish): (&Exchange, &Finish),
    cut: impl Future<Output = ()>,
) -> End {
    tracing::info!(lame_duck = %limits.lame_duck, limit = %limits.drain, "draining");
    let drained = async {
        drain.begin();
        drain.served_out().await;
        let finished = drain.finished(limits.drain.0).await;
        tracing::info!(finished, connections = drain.connections(), "drained");
        finished
    };
    let (patience, is_finished) = tokio::select! {
        biased;
        finished = drained => (limits.drain.0, finished),
        () = cut => {
            tracing::warn!("another signal: not waiting any longer");
            (Duration::ZERO, drain.connections() == 0)
        }
    };
    let end = if is_finished { End::InOrder } else { End::CutOff };
    exchange.leave(patience).await;
    let grace: Duration = limits.grace.0;
    if tokio::time::timeout(grace, finish()).await.is_err() {
        tracing::warn!(?grace, "children did not end in time");
    }
    end
}

impl std::fmt::Debug for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ending").field("drain", &self.drain).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl ShutdownSignalWatch for Ending {
    /// Waits for SIGTERM, SIGINT or `POST /drain`, then drains; or for SIGQUIT, which hands over first.
    async fn recv(&self) -> ShutdownSignal {
        let mut signals = Signals::listen();
        match self.asked(&mut signals).await {
            Asked::ToEnd => {
                let config = self.reload.config();
                let end = end(&self.drain, config.shutdown(), (&self.exchange, &self.finish), signals.end()).await;
                // It ends once.
                let _ = self.end.set(end);
                ShutdownSignal::FastShutdown
            }
            Asked::ToHandOver => {
                tracing::info!("the sockets were handed over");
                // Connections that are kept go to the new process with their next request.
                self.drain.leave();
                tokio::time::sleep(BOTH_ACCEPT).await;
                self.end_by_itself(signals);
                // Nobody is accepted any more from here on.
                ShutdownSignal::GracefulTerminate
            }
        }
    }
}

/// The signals that are waited for, from now on: what comes while nobody waits is not lost.
struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    quit: Option<Signal>,
}

impl Signals {
    /// Where one cannot be had, it never comes: `POST /drain` still works.
    fn listen() -> Self {
        let listen = |kind| signal(kind).inspect_err(|error| tracing::warn!(%error, "signals")).ok();
        let [terminate, interrupt, quit] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()].map(listen);
        Self { terminate, interrupt, quit }
    }

    /// Waits for SIGTERM or SIGINT.
    async fn end(&mut self) {
        tokio::select! {
            biased;
            () = next(&mut self.terminate) => {}
            () = next(&mut self.interrupt) => {}
        }
    }
}

async fn next(signals: &mut Option<Signal>) {
    match signals {
        Some(signals) => {
            let _ = signals.recv().await;
        }
        None => std::future::pending().await,
    }
}

/// A finish that has nothing to do.
pub fn nothing_to_finish() -> Finish {
    Box::new(|| Box::pin(std::future::ready(())))
}
