//! `mcp-guard run`: from a config to a guard that serves.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use mcp_guard::GuardLayer;
use mcp_guard::middleware::{self, InvalidEdge};
use pingora::server::Server;
use pingora::services::background::background_service;
use thiserror::Error;
use tower::Layer;

use crate::activity::Silence;
use crate::admin::Admin;
use crate::admin_app::AdminApp;
use crate::admission::Connections;
use crate::cli::complain;
use crate::clients::Doors;
use crate::config::{Config, Era, ListenAddress, NodeUrl, Target, Upstream, is_secure};
use crate::connection::GuardApp;
use crate::drain::Drain;
use crate::health::{Health, Healths};
use crate::host::{self, Ending, Finish};
use crate::memory::Memory;
use crate::metrics_page::{self, AlreadyRecorded, Upkeep};
use crate::open_files;
use crate::probe::{Probe, Prober};
use crate::resume::{Resumption, Streams, Sweeper};
use crate::stack;
use crate::telemetry::{self, TelemetryError};
use crate::tls::{ClientTls, ServerTls, TlsError, Watcher};
use crate::upstream::balance::{self, AnyOf, Nodes};
use crate::upstream::dial::{Dialer, authority};
use crate::upstream::eras::{Eras, NodeUpstream};
use crate::upstream::from_config;
use crate::upstream::http::{HttpSessions, HttpUpstream};
use crate::upstream::sessions::{Link, SessionNode};
use crate::upstream::socket::SocketAddress;
use crate::upstream::sse::EventStream;
use crate::upstream::stdio;
use crate::upstream::web_socket::WebSocket;

/// Why the guard could not start.
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
    /// Metrics could not be set up.
    #[error("metrics: {0}")]
    Metrics(#[from] AlreadyRecorded),
    /// Logs or traces could not be set up.
    #[error("telemetry: {0}")]
    Telemetry(#[from] TelemetryError),
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

/// Runs until SIGTERM, and says with which code to exit.
pub fn run(config: &Config) -> ExitCode {
    exit_code(start(config, |_| {}))
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

/// Starts the guard, tells `announce` where it is, and runs it to its end.
///
/// # Errors
///
/// [`RunError`] if it cannot start.
pub fn start(config: &Config, announce: impl FnOnce(&Addresses)) -> Result<(), RunError> {
    let _telemetry = telemetry::init(config.telemetry())?;
    open_files::raise();
    let metrics = metrics_page::install()?;
    let addresses = claim(config)?;
    // A valid config has exactly one.
    let Some(upstream) = config.upstreams().first() else { return Ok(()) };
    let names = node_names(upstream);
    let (node, healths) = (names.join(","), healths(upstream, &names));
    let drain = Drain::new(config.shutdown().lame_duck.0);
    let limits = &config.guard().limits;
    let memory = Arc::new(Memory::new(limits.memory_bytes_max()));
    let mut guard = Guard {
        config,
        addresses: &addresses,
        server: host::server(),
        layer: stack::concerns(config, &node, &upstream.timeouts),
        connections: Connections::new(drain.clone(), limits.connections_max(), limits.connections_per_client_max()),
        memory: Arc::clone(&memory),
        watcher: Watcher::default(),
    };
    guard.server.add_service(background_service("metrics", Upkeep::new(Arc::clone(&memory))));
    let admin =
        Admin { drain: drain.clone(), health: healths.clone(), memory, metrics, config: Arc::new(config.effective()) };
    guard.server.add_service(host::listening(AdminApp::new(admin.router()), &addresses.admin.into(), 0));
    let finish = guard.serve_upstream(upstream, &healths)?;
    if !guard.watcher.is_empty() {
        guard.server.add_service(background_service("certificates", guard.watcher));
    }
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
    layer: GuardLayer,
    connections: Connections,
    memory: Arc<Memory>,
    watcher: Watcher,
}

impl Guard<'_> {
    /// Adds the services for `upstream`, whose nodes have these `healths`, and says what has to be done at the end.
    fn serve_upstream(&mut self, upstream: &Upstream, healths: &Healths) -> Result<Finish, RunError> {
        let (probes, finish) = match &upstream.target {
            Target::Urls(urls) if upstream.target.is_http() => self.serve_http(upstream, urls, healths)?,
            Target::Urls(urls) => {
                let links = urls.iter().map(|url| self.link(upstream, url)).collect::<Result<Vec<_>, _>>()?;
                self.serve_links(upstream, links, healths)?
            }
            Target::Stdio { command, process } => {
                let sessions = from_config::children(self.config, upstream, process);
                let places = sessions.sessions_max.get();
                let node = stdio::node(from_config::stdio(self.config, command, process), sessions);
                let finish = self.serve_eras(upstream, places, None, || node.clone())?;
                (vec![Probe::Session(node.clone())], both(finish, end_sessions(node)))
            }
        };
        for (probe, health) in probes.into_iter().zip(healths.nodes()) {
            let prober = Prober::new(probe, upstream.health.interval(), Arc::clone(health), self.layer.clone());
            self.server.add_service(background_service("health", prober));
        }
        Ok(finish)
    }

    /// Serves nodes that speak Streamable HTTP, and says how each is asked whether it is well.
    fn serve_http(
        &mut self,
        upstream: &Upstream,
        urls: &[NodeUrl],
        healths: &Healths,
    ) -> Result<(Vec<Probe>, Finish), RunError> {
        let (mut nodes, mut probes, mut links) = (Vec::new(), Vec::new(), Vec::new());
        for url in urls {
            let NodeUrl::Http(uri) = url else { continue };
            let (dialer, timeout) = (self.dialer(upstream, uri)?, upstream.health.timeout());
            let node = HttpUpstream::new(from_config::http(upstream, uri, dialer.clone()))?;
            links.push(Arc::new(HttpSessions::new(node.another_pool(), dialer)) as Arc<dyn Link>);
            probes.push(Probe::Http { node: node.another_pool(), timeout });
            nodes.push((url.to_string(), node));
        }
        let all = Nodes::new(healths.nodes().cloned());
        let sessions = from_config::own_sessions(self.config, upstream);
        // A stateless node has none that could be opened again.
        let has_own = upstream.fails_over() && upstream.era != Era::Stateless;
        let own = has_own.then(|| SessionNode::new(AnyOf::new(Arc::clone(&all), links), sessions));
        let places = upstream.connections.get() * nodes.len();
        let node = match nodes.as_slice() {
            [(_, node)] => balance::Http::one(node.another_pool()),
            _ => balance::Http::several(all, nodes),
        };
        let finish = self.serve_eras(upstream, places, own, || node.another_pool())?;
        Ok((probes, finish))
    }

    /// Serves nodes that have a connection for each session.
    fn serve_links(
        &mut self,
        upstream: &Upstream,
        links: Vec<Arc<dyn Link>>,
        healths: &Healths,
    ) -> Result<(Vec<Probe>, Finish), RunError> {
        let options = from_config::sessions(self.config, upstream);
        let places = options.sessions_max.get();
        let (node, probes) = match links.as_slice() {
            [link] => {
                let node = SessionNode::new(Arc::clone(link), options);
                (node.clone(), vec![Probe::Session(node)])
            }
            several => {
                // What sessions of clients show is not of which node; so each is asked by itself.
                let mut asking = options.clone();
                asking.speaks_for = Duration::ZERO;
                let probe = |link| Probe::Session(SessionNode::new(Arc::clone(link), asking.clone()));
                let probes = several.iter().map(probe).collect();
                let any = AnyOf::new(Nodes::new(healths.nodes().cloned()), links);
                (SessionNode::new(any, options), probes)
            }
        };
        let finish = self.serve_eras(upstream, places, None, || node.clone())?;
        Ok((probes, both(finish, end_sessions(node))))
    }

    /// The way to a node that has a connection for each session.
    fn link(&mut self, upstream: &Upstream, url: &NodeUrl) -> Result<Arc<dyn Link>, RunError> {
        Ok(match url {
            NodeUrl::Tcp(authority) => Arc::new(SocketAddress::Tcp(Dialer::new(authority, None))),
            NodeUrl::Unix(path) => Arc::new(SocketAddress::Unix(path.clone())),
            NodeUrl::Http(uri) | NodeUrl::Sse(uri) => {
                Arc::new(EventStream::new(uri.clone(), self.dialer(upstream, uri)?))
            }
            NodeUrl::WebSocket(uri) => {
                Arc::new(WebSocket::new(uri.clone(), self.dialer(upstream, uri)?, upstream.profile))
            }
        })
    }

    /// What makes the connections to the node at `uri`.
    fn dialer(&mut self, upstream: &Upstream, uri: &Uri) -> Result<Dialer, RunError> {
        let tls =
            is_secure(uri).then(|| ClientTls::load("upstreams[0].tls", &upstream.tls, uri.host().unwrap_or_default()));
        let tls = tls.transpose()?;
        if let Some(tls) = &tls {
            self.watcher.client(tls);
        }
        Ok(Dialer::new(authority(uri), tls))
    }

    /// Serves clients of both eras, where they may, with a node that has so many `places` for calls at once, and legacy ones in
    /// sessions of `own`, where there are; gives what has to be done at the end.
    fn serve_eras<U: NodeUpstream>(
        &mut self,
        upstream: &Upstream,
        places: usize,
        own: Option<SessionNode>,
        node: impl Fn() -> U,
    ) -> Result<Finish, RunError> {
        let sessions = from_config::own_sessions(self.config, upstream);
        let eras = Eras::new(node(), from_config::era(upstream), places, sessions).in_own_sessions(own);
        let eras = Arc::new(eras);
        self.server.add_service(background_service("eras", eras.sweeper()));
        self.serve(|| eras.by(node()))?;
        Ok(Box::new(move || {
            let eras = Arc::clone(&eras);
            Box::pin(async move { eras.shutdown().await })
        }))
    }

    /// One service for each listener and core, with an upstream of its own.
    fn serve<U: middleware::Upstream>(&mut self, upstream: impl Fn() -> U) -> Result<(), RunError> {
        let limits = &self.config.guard().limits;
        let streams = Arc::new(Streams::new(limits.sessions_max()));
        self.server.add_service(background_service("streams", Sweeper::new(Arc::clone(&streams))));
        let silence = Silence { first: limits.header_timeout(), between: limits.keep_alive() };
        for (index, (listener, address)) in self.config.listeners().iter().zip(&self.addresses.listeners).enumerate() {
            let layer = stack::guard(&self.layer, listener)?;
            let tls = listener.tls.as_ref().map(|tls| ServerTls::load(&format!("listeners[{index}].tls"), tls));
            let tls = tls.transpose()?;
            if let Some(tls) = &tls {
                self.watcher.server(tls);
            }
            let doors = Doors::of(listener, stack::edge(listener)?, limits).map(Arc::new);
            let path = listener.path.as_str().to_owned();
            let resumption = Resumption { streams: Arc::clone(&streams), edge: stack::edge(listener)?, path };
            let resumption = Arc::new(resumption);
            let cores = if matches!(address, ListenAddress::Tcp(_)) { host::cores() } else { 1 };
            for core in 0..cores {
                let (connections, memory) = (self.connections.clone(), Arc::clone(&self.memory));
                let app = GuardApp::new(layer.layer(upstream()), connections, silence, memory);
                let app = app.tls(tls.clone()).doors(doors.clone()).resumption(Arc::clone(&resumption));
                self.server.add_service(host::listening(app.proxied(listener.proxy_protocol), address, core));
            }
        }
        Ok(())
    }
}

/// Does the one beside the other.
fn both(one: Finish, other: Finish) -> Finish {
    let both = Arc::new((one, other));
    Box::new(move || {
        let both = Arc::clone(&both);
        Box::pin(async move {
            tokio::join!(both.0(), both.1());
        })
    })
}

fn end_sessions(node: SessionNode) -> Finish {
    Box::new(move || {
        let node = node.clone();
        Box::pin(async move { node.shutdown().await })
    })
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

/// How the nodes are called in metrics and logs: where they are, never with what credentials or arguments.
fn node_names(upstream: &Upstream) -> Vec<String> {
    let name = |url: &NodeUrl| match url {
        NodeUrl::Http(uri) | NodeUrl::Sse(uri) | NodeUrl::WebSocket(uri) => authority(uri),
        NodeUrl::Tcp(authority) => authority.clone(),
        NodeUrl::Unix(path) => path.display().to_string(),
    };
    // Two that differ by their paths alone are told apart by them.
    let full = |url: &NodeUrl| match url {
        NodeUrl::Http(uri) | NodeUrl::Sse(uri) | NodeUrl::WebSocket(uri) => format!("{}{}", authority(uri), uri.path()),
        NodeUrl::Tcp(_) | NodeUrl::Unix(_) => name(url),
    };
    match &upstream.target {
        Target::Urls(urls) => {
            let is_one = |url: &NodeUrl| urls.iter().filter(|other| name(other) == name(url)).count() == 1;
            urls.iter().map(|url| if is_one(url) { name(url) } else { full(url) }).collect()
        }
        Target::Stdio { command, .. } => vec![command.program().to_owned()],
    }
}

fn healths(upstream: &Upstream, names: &[String]) -> Healths {
    let (unhealthy_after, healthy_after) = (upstream.health.unhealthy_after(), upstream.health.healthy_after());
    Healths::new(names.iter().map(|name| Arc::new(Health::new(name, unhealthy_after, healthy_after))))
}
