//! `mcp-guard run`: from a config to a guard that serves.

mod fleet;
mod hosting;
mod kinds;
mod nodes;
mod services;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mcp_guard::middleware::InvalidEdge;
use thiserror::Error;

use self::fleet::Registers;
use self::services::Guard;
use crate::admin::Admin;
use crate::admin_app::AdminApp;
use crate::admission::Connections;
use crate::cli::complain;
use crate::config::{Config, ListenAddress};
use crate::core_dumps;
use crate::drain::Drain;
use crate::hand_over::{Exchange, Heir, Predecessor, Sockets};
use crate::health::Healths;
use crate::host::{self, End, Ending, Finish};
use crate::memory::{Memory, Watchdog};
use crate::metrics_page::{self, AlreadyRecorded};
use crate::open_files;
use crate::probe::Prober;
use crate::reload::{Change, Reload, Source, Takeover, Watcher, take_over};
use crate::stack;
use crate::telemetry::{self, Level, TelemetryError};
use crate::tls::{self, TlsError};

pub use self::hosting::Host;

/// Why the guard could not start, or not end in order.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The listener's path is no path.
    #[error("listener: {0}")]
    Edge(#[from] InvalidEdge),
    /// Somebody else listens there, or nobody may.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: ListenAddress,
        /// What the system says.
        error: io::Error,
    },
    /// Nodes of one kind cannot be called as those of another.
    #[error("upstream: it is of another kind")]
    OtherKind,
    /// Metrics could not be set up.
    #[error("metrics: {0}")]
    Metrics(#[from] AlreadyRecorded),
    /// The process whose place is to be taken cannot be asked for its sockets.
    #[error("--upgrade: {0}")]
    Predecessor(#[source] io::Error),
    /// Logs or traces could not be set up.
    #[error("telemetry: {0}")]
    Telemetry(#[from] TelemetryError),
    /// At its end, not all that it had accepted was answered.
    #[error("calls were cut off: shutdown.drain was over, or a second signal came")]
    CutOff,
    /// There can be no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The upstream cannot be called so.
    #[error("upstream: {0}")]
    Upstream(#[from] http::Error),
}

/// Where a guard that has started can be reached.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Addresses {
    /// The listeners, in the order of the config.
    pub listeners: Vec<ListenAddress>,
    /// The admin endpoints.
    pub admin: SocketAddr,
}

/// Runs with `config`, which came from `source`, until SIGTERM, and says with which code to exit. With a `predecessor` it takes
/// the place of that process.
pub fn run(config: Config, source: Source, predecessor: Option<&Predecessor>) -> ExitCode {
    exit_code(start(config, Some(source), predecessor, |_| {}))
}

/// The exit code of a guard that has ended, or has not started.
pub(crate) fn exit_code(result: Result<(), RunError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // The log has it. Where nobody reads that, nobody would read this, and the end would wait for it.
        Err(RunError::CutOff) => ExitCode::FAILURE,
        Err(error) => {
            complain(&format!("mcp-guard: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Starts the guard, in the place of its `predecessor` if it has one, tells `announce` where it is, and runs it to its end; a
/// reload reads `source`.
///
/// # Errors
///
/// [`RunError`] if it cannot start, or does not end in order.
pub fn start(
    config: Config,
    source: Option<Source>,
    predecessor: Option<&Predecessor>,
    announce: impl FnOnce(&Addresses),
) -> Result<(), RunError> {
    let telemetry = telemetry::init(config.telemetry())?;
    core_dumps::forbid();
    open_files::raise();
    let metrics = metrics_page::install()?;
    // Where a predecessor listens, nobody else can: it is its sockets that are used.
    let addresses = if predecessor.is_some() { Addresses::configured(&config) } else { claim(&config)? };
    let mut server = host::server(predecessor);
    let level = take_over_level(telemetry.level());
    let Some(Guarded { drain, health, memory, reload, exchange, finish }) =
        assemble(&config, source, &addresses, level, &mut server)?
    else {
        return Ok(());
    };
    if let Some(predecessor) = predecessor {
        let heir = Heir::new(exchange.clone(), predecessor).map_err(RunError::Predecessor)?;
        server.background("sessions", heir);
    }
    let admin = Admin { drain: drain.clone(), health, memory, metrics, reload: reload.clone() };
    server.listening(AdminApp::new(admin.router()), &addresses.admin.into(), 0);
    let node = nodes::label(&config);
    tracing::info!(listeners = ?addresses.listeners, admin = %addresses.admin, %node, "serving");
    announce(&addresses);
    // The admin endpoints have one.
    let sockets = Sockets::new(addresses.listeners.iter().map(host::sockets).sum::<usize>() + 1);
    server.add_service(sockets.clone());
    let flush = telemetry.flusher();
    let ending = Ending::new(drain, reload, (sockets, exchange), finish, flush);
    host::bootstrap(&mut server, predecessor).map_err(RunError::Predecessor)?;
    telemetry.serves();
    match host::run(server, ending) {
        End::InOrder => Ok(()),
        End::CutOff => {
            tracing::error!("{}", RunError::CutOff);
            Err(RunError::CutOff)
        }
    }
}

/// A guard whose services its host has.
pub struct Guarded {
    /// Whether it drains.
    pub drain: Drain,
    /// Whether its nodes are well.
    pub health: Healths,
    /// Whether there is enough memory.
    pub memory: Arc<Memory>,
    /// The config, and how it becomes another.
    pub reload: Reload,
    /// What it tells the process that it takes the place of, and the one that takes its place.
    pub exchange: Exchange,
    /// What is done last.
    pub finish: Finish,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").field("drain", &self.drain).finish_non_exhaustive()
    }
}

/// Puts a guard together from its config, gives its services to `host`, and says what they share; `None` if the config names no
/// node, which a valid one does. Reloads read `source`, and are taken over by `takeover` too.
///
/// # Errors
///
/// [`RunError`] if there can be no such guard.
pub fn assemble<S: Host>(
    config: &Config,
    source: Option<Source>,
    addresses: &Addresses,
    takeover: Takeover,
    host: &mut S,
) -> Result<Option<Guarded>, RunError> {
    // A valid config has exactly one.
    let Some(upstream) = config.upstreams().first() else { return Ok(None) };
    let drain = Drain::new(config.shutdown().lame_duck.0);
    let limits = &config.guard().limits;
    let layer = stack::concerns(config, &nodes::label(config));
    let memory = Arc::new(Memory::new(limits.memory_bytes_max(), layer.pressure()));
    let connections = Connections::new(drain.clone(), limits.connections_max(), limits.connections_per_client_max());
    let layer = Arc::new(ArcSwap::from_pointee(layer));
    let registers = Registers {
        healths: Healths::default(),
        prober: Prober::new(Arc::clone(&layer)),
        watcher: tls::Watcher::default(),
        layer: Arc::clone(&layer),
    };
    host.background("memory", Watchdog::new(Arc::clone(&memory)));
    let bounds = take_over_bounds(drain.clone(), connections.clone(), Arc::clone(&memory));
    let succeeded = Arc::clone(&layer);
    let concerns = take_over(move |Change { next, .. }| {
        succeeded.store(Arc::new(stack::succeeding(&succeeded.load(), next, &nodes::label(next))));
    });
    let mut guard = Guard {
        config,
        addresses,
        host,
        layer,
        connections,
        memory: Arc::clone(&memory),
        watcher: registers.watcher.clone(),
        exchange: Exchange::default(),
        takeovers: vec![takeover, bounds, concerns],
    };
    let finish = guard.serve_upstream(upstream, registers.clone())?;
    let Guard { takeovers, exchange, .. } = guard;
    let Registers { healths, prober, watcher, .. } = registers;
    host.background("health", prober);
    host.background("certificates", watcher);
    let reload = Reload::new(config.clone(), source, takeovers);
    host.background("config", Watcher::new(reload.clone()));
    Ok(Some(Guarded { drain, health: healths, memory, reload, exchange, finish }))
}

/// Which lines are logged from now on.
fn take_over_level(level: Level) -> Takeover {
    take_over(move |Change { next, .. }| level.set(next.telemetry().logs.level))
}

/// What is bounded anew by another config.
fn take_over_bounds(drain: Drain, connections: Connections, memory: Arc<Memory>) -> Takeover {
    take_over(move |Change { next, .. }| {
        let limits = &next.guard().limits;
        drain.set_lame_duck(next.shutdown().lame_duck.0);
        connections.set_caps(limits.connections_max(), limits.connections_per_client_max());
        memory.set_limit(limits.memory_bytes_max());
    })
}

impl Addresses {
    /// Where the config says that the guard listens.
    pub fn configured(config: &Config) -> Self {
        let listeners = config.listeners().iter().map(|listener| listener.address.clone()).collect();
        Self { listeners, admin: config.admin().address }
    }
}

fn claim(config: &Config) -> Result<Addresses, RunError> {
    let claim = |address: &ListenAddress| {
        host::claim(address).map_err(|error| RunError::Listen { address: address.clone(), error })
    };
    let listeners = config.listeners().iter().map(|listener| {
        // A free port is this process's own, whatever it is for.
        let has_port = matches!(listener.address, ListenAddress::Tcp(address) if address.port() != 0);
        if listener.share_port && has_port { Ok(listener.address.clone()) } else { claim(&listener.address) }
    });
    let listeners = listeners.collect::<Result<_, _>>()?;
    let admin = config.admin().address;
    let admin = host::claim_port(admin).map_err(|error| RunError::Listen { address: admin.into(), error })?;
    Ok(Addresses { listeners, admin })
}
