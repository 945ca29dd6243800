//! `mcp-guard run`: from a config to a guard that serves.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use mcp_guard::GuardLayer;
use mcp_guard::middleware::InvalidEdge;
use metrics::gauge;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use pingora::server::Server;
use pingora::services::background::{BackgroundService, background_service};
use thiserror::Error;
use tokio::net::TcpStream;
use tower::{Layer, Service};

use crate::admin::{Admin, AdminApp};
use crate::config::{Config, Target, Upstream};
use crate::connection::{Connections, GuardApp};
use crate::drain::Drain;
use crate::health::Health;
use crate::host::{self, Ending};
use crate::stack;
use crate::telemetry::{self, TelemetryError};
use crate::upstream::http::{HttpOptions, HttpUpstream};
use crate::upstream::stdio::{Stdio, StdioOptions};

/// Why the guard could not start, or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// Somebody else listens there, or nobody may.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The upstream cannot be called so.
    #[error("upstream: {0}")]
    Upstream(#[from] http::Error),
    /// The listener's path is no path.
    #[error("listener: {0}")]
    Edge(#[from] InvalidEdge),
    /// Metrics could not be set up.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
    /// Logs or traces could not be set up.
    #[error("telemetry: {0}")]
    Telemetry(#[from] TelemetryError),
}

/// Runs until SIGTERM, and says with which code to exit.
pub fn run(config: &Config) -> ExitCode {
    match start(config, |_| {}) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the guard ends");
            eprintln!("mcp-guard: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where a guard that has started can be reached.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Addresses {
    /// The listeners, in the order of the config.
    pub listeners: Vec<SocketAddr>,
    /// The admin endpoints.
    pub admin: SocketAddr,
}

/// Starts the guard, tells `announce` where it is, and runs it to its end.
///
/// # Errors
///
/// [`RunError`] if it cannot start.
pub fn start(config: &Config, announce: impl FnOnce(&Addresses)) -> Result<(), RunError> {
    let _telemetry = telemetry::init(config.telemetry())?;
    let metrics = install_metrics()?;
    let addresses = claim(config)?;
    let [upstream, ..] = config.upstreams() else { return Ok(()) };
    let node = node_name(upstream);
    let health = Arc::new(Health::new(&node, upstream.health.unhealthy_after(), upstream.health.healthy_after()));
    let drain = Drain::default();
    let mut guard = Guard {
        config,
        addresses: &addresses,
        server: host::server(),
        drain: drain.clone(),
        layer: stack::concerns(config, &node, upstream.timeouts.first_byte()),
        connections: connections(config, &drain),
    };
    let admin = Admin { drain: drain.clone(), health: Arc::clone(&health), metrics, config: Arc::new(config.effective()) };
    let mut service = host::listening(AdminApp::new(admin.router()), addresses.admin, 0);
    service.threads = Some(1);
    guard.server.add_service(service);
    let finish = match &upstream.target {
        Target::Http(url) => {
            let options = http_options(upstream, url.uri());
            guard.server.add_service(background_service("health", HttpProbe::new(upstream, &options, health)));
            guard.serve_http(&HttpUpstream::new(options)?)?;
            host::nothing_to_finish()
        }
        Target::Stdio { command, process } => {
            let stdio = Stdio::new(StdioOptions::new(upstream, command, process, config.guard().limits.clone()));
            guard.server.add_service(background_service("health", StdioProbe { stdio: stdio.clone(), health }));
            guard.serve(|| stdio.clone())?;
            Box::new(move || {
                let stdio = stdio.clone();
                Box::pin(async move { stdio.shutdown().await })
            })
        }
        #[expect(unreachable_patterns, reason = "targets to come are refused by the config")]
        _ => host::nothing_to_finish(),
    };
    tracing::info!(listeners = ?addresses.listeners, admin = %addresses.admin, %node, "serving");
    announce(&addresses);
    host::run(guard.server, Ending::new(drain, config.shutdown().clone(), finish));
    Ok(())
}

/// What the services of one guard are made of.
struct Guard<'a> {
    config: &'a Config,
    addresses: &'a Addresses,
    server: Server,
    drain: Drain,
    layer: GuardLayer,
    connections: Connections,
}

impl Guard<'_> {
    fn serve_http(&mut self, upstream: &HttpUpstream) -> Result<(), RunError> {
        self.serve(|| upstream.another_pool())
    }

    /// One service for each listener and core, with an upstream of its own.
    fn serve<S, B>(&mut self, upstream: impl Fn() -> S) -> Result<(), RunError>
    where
        S: Service<Request<http_body_util::Full<bytes::Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        debug_assert!(!self.drain.is_draining(), "a guard starts before it drains");
        let header_timeout = self.config.guard().limits.header_timeout();
        for (listener, address) in self.config.listeners().iter().zip(&self.addresses.listeners) {
            let layer = stack::guard(&self.layer, listener)?;
            for core in 0..host::cores() {
                let app = GuardApp::new(layer.layer(upstream()), self.connections.clone(), header_timeout);
                self.server.add_service(host::listening(app, *address, core));
            }
        }
        Ok(())
    }
}

fn claim(config: &Config) -> Result<Addresses, RunError> {
    let claim = |address| host::claim(address).map_err(|error| RunError::Listen { address, error });
    let listeners = config.listeners().iter().map(|listener| claim(listener.address)).collect::<Result<_, _>>()?;
    Ok(Addresses { listeners, admin: claim(config.admin().address)? })
}

fn connections(config: &Config, drain: &Drain) -> Connections {
    let limits = &config.guard().limits;
    Connections::new(drain.clone(), limits.connections_max(), limits.connections_per_client_max())
}

/// How the node is called in metrics and logs: where it is, never with what credentials or arguments.
fn node_name(upstream: &Upstream) -> String {
    match &upstream.target {
        Target::Http(url) => url.uri().authority().map_or_else(String::new, |authority| authority.host().to_owned() + ":" + &port(url.uri()).to_string()),
        Target::Stdio { command, .. } => command.program().to_owned(),
        #[expect(unreachable_patterns, reason = "targets to come are refused by the config")]
        _ => String::new(),
    }
}

fn port(uri: &http::Uri) -> u16 {
    uri.port_u16().unwrap_or(80)
}

fn http_options(upstream: &Upstream, uri: &http::Uri) -> HttpOptions {
    HttpOptions {
        authority: format!("{}:{}", uri.host().unwrap_or_default(), port(uri)),
        path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        connections_max: upstream.connections.get(),
        connect_timeout: upstream.timeouts.connect(),
        first_byte_timeout: upstream.timeouts.first_byte(),
        idle_timeout: upstream.timeouts.idle(),
    }
}

/// Buckets in seconds for what takes as long as a call: those of OpenTelemetry's MCP conventions, and finer ones below.
const CALL_SECONDS: [f64; 17] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

fn install_metrics() -> Result<PrometheusHandle, RunError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &CALL_SECONDS)?
        .install_recorder()?;
    mcp_guard::describe_metrics();
    gauge!("mcp_guard_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Asks again and again whether the node can be reached.
struct HttpProbe {
    authority: String,
    interval: Duration,
    timeout: Duration,
    health: Arc<Health>,
}

impl HttpProbe {
    fn new(upstream: &Upstream, options: &HttpOptions, health: Arc<Health>) -> Self {
        let (interval, timeout) = (upstream.health.interval(), upstream.health.timeout());
        Self { authority: options.authority.clone(), interval, timeout, health }
    }
}

#[async_trait::async_trait]
impl BackgroundService for HttpProbe {
    async fn start(&self, mut shutdown: pingora::server::ShutdownWatch) {
        loop {
            let probe = match tokio::time::timeout(self.timeout, TcpStream::connect(&self.authority)).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("no connection: {}", error.kind())),
                Err(_) => Err(format!("no connection within {:?}", self.timeout)),
            };
            self.health.probed(probe);
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// Whether the stdio node's program can be run, and its children live.
struct StdioProbe {
    stdio: Stdio,
    health: Arc<Health>,
}

#[async_trait::async_trait]
impl BackgroundService for StdioProbe {
    async fn start(&self, mut shutdown: pingora::server::ShutdownWatch) {
        loop {
            self.health.probed(self.stdio.health());
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}
