//! `mcp-guard run`: from a config to a guard that serves.

mod fleet;
mod kinds;
mod nodes;
mod services;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mcp_guard::middleware::InvalidEdge;
use pingora::services::background::background_service;
use thiserror::Error;

use self::fleet::Registers;
use self::services::Guard;
use crate::admin::Admin;
use crate::admin_app::AdminApp;
use crate::admission::Connections;
use crate::cli::complain;
use crate::config::{Config, ListenAddress};
use crate::drain::Drain;
use crate::hand_over::{Exchange, Heir, Predecessor, Sockets};
use crate::health::Healths;
use crate::host::{self, End, Ending};
use crate::memory::{Memory, Watchdog};
use crate::metrics_page::{self, AlreadyRecorded};
use crate::open_files;
use crate::probe::Prober;
use crate::reload::{Change, Reload, Source, Takeover, Watcher, take_over};
use crate::stack;
use crate::telemetry::{self, Level, TelemetryError};
use crate::tls::{self, TlsError};

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
    open_files::raise();
    let metrics = metrics_page::install()?;
    // Where a predecessor listens, nobody else can: it is its sockets that are used.
    let addresses = if predecessor.is_some() { configured(&config) } else { claim(&config)? };
    // A valid config has exactly one.
    let Some(upstream) = config.upstreams().first() else { return Ok(()) };
    let node = nodes::label(&config);
    let drain = Drain::new(config.shutdown().lame_duck.0);
    let limits = &config.guard().limits;
    let layer = stack::concerns(&config, &node);
    let memory = Arc::new(Memory::new(limits.memory_bytes_max(), layer.pressure()));
    let connections = Connections::new(drain.clone(), limits.connections_max(), limits.connections_per_client_max());
    let layer = Arc::new(ArcSwap::from_pointee(layer));
    let registers = Registers {
        healths: Healths::default(),
        prober: Prober::new(Arc::clone(&layer)),
        watcher: tls::Watcher::default(),
        layer: Arc::clone(&layer),
    };
    let mut guard = Guard {
        config: &config,
        addresses: &addresses,
        server: host::server(predecessor),
        layer: Arc::clone(&layer),
        connections: connections.clone(),
        memory: Arc::clone(&memory),
        watcher: registers.watcher.clone(),
        exchange: Exchange::default(),
        takeovers: vec![],
    };
    guard.takeovers.push(take_over_bounds(drain.clone(), connections, Arc::clone(&memory), telemetry.level()));
    guard.takeovers.push(take_over(move |Change { next, .. }| {
        layer.store(Arc::new(stack::succeeding(&layer.load(), next, &nodes::label(next))));
    }));
    guard.server.add_service(background_service("memory", Watchdog::new(Arc::clone(&memory))));
    let finish = guard.serve_upstream(upstream, registers.clone())?;
    let Guard { mut server, takeovers, exchange, .. } = guard;
    if let Some(predecessor) = predecessor {
        let heir = Heir::new(exchange.clone(), predecessor).map_err(RunError::Predecessor)?;
        server.add_service(background_service("sessions", heir));
    }
    let Registers { healths, prober, watcher, .. } = registers;
    server.add_service(background_service("health", prober));
    server.add_service(background_service("certificates", watcher));
    let reload = Reload::new(config.clone(), source, takeovers);
    server.add_service(background_service("config", Watcher::new(reload.clone())));
    let admin = Admin { drain: drain.clone(), health: healths, memory, metrics, reload: reload.clone() };
    server.add_service(host::listening(AdminApp::new(admin.router()), &addresses.admin.into(), 0));
    tracing::info!(listeners = ?addresses.listeners, admin = %addresses.admin, %node, "serving");
    announce(&addresses);
    // The admin endpoints have one.
    let sockets = Sockets::new(addresses.listeners.iter().map(host::sockets).sum::<usize>() + 1);
    server.add_service(sockets.clone());
    let flush = telemetry.flusher();
    let ending = Ending::new(drain, reload, (sockets, exchange), finish, flush);
    match host::run(server, ending, predecessor).map_err(RunError::Predecessor)? {
        End::InOrder => Ok(()),
        End::CutOff => Err(RunError::CutOff),
    }
}

/// What is bounded anew by another config.
fn take_over_bounds(drain: Drain, connections: Connections, memory: Arc<Memory>, level: Level) -> Takeover {
    take_over(move |Change { next, .. }| {
        let limits = &next.guard().limits;
        drain.set_lame_duck(next.shutdown().lame_duck.0);
        connections.set_caps(limits.connections_max(), limits.connections_per_client_max());
        memory.set_limit(limits.memory_bytes_max());
        level.set(next.telemetry().logs.level);
    })
}

/// Where the config says that the guard listens.
fn configured(config: &Config) -> Addresses {
    let listeners = config.listeners().iter().map(|listener| listener.address.clone()).collect();
    Addresses { listeners, admin: config.admin().address }
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
