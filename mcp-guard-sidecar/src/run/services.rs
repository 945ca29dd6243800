//! The services of one guard, and what a reload changes in them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Uri;
use mcp_guard::middleware;
use mcp_guard::{GuardLayer, GuardStack};
use pingora::server::Server;
use pingora::services::background::background_service;
use tower::Layer;

use super::{Addresses, RunError};
use crate::activity::Silence;
use crate::admission::Connections;
use crate::clients::{Doors, EventStreams};
use crate::config::{Config, Era, Listener, NodeUrl, Target, Upstream, is_secure};
use crate::connection::GuardApp;
use crate::health::Healths;
use crate::host::{self, Finish};
use crate::memory::Memory;
use crate::probe::{Probe, Prober};
use crate::reload::Takeover;
use crate::resume::{Resumption, Streams, Sweeper};
use crate::setup::Setup;
use crate::stack;
use crate::tls::{ClientTls, ServerTls, Watcher};
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

/// What the services of one guard are made of.
pub(super) struct Guard<'a> {
    pub(super) config: &'a Config,
    pub(super) addresses: &'a Addresses,
    pub(super) server: Server,
    /// The concerns that count now.
    pub(super) layer: Arc<ArcSwap<GuardLayer>>,
    pub(super) connections: Connections,
    pub(super) memory: Arc<Memory>,
    pub(super) watcher: Watcher,
    /// What each part does with a new config, once the concerns have it.
    pub(super) takeovers: Vec<Takeover>,
}

impl Guard<'_> {
    /// Adds the services for `upstream`, whose nodes have these `healths`, and says what has to be done at the end.
    pub(super) fn serve_upstream(&mut self, upstream: &Upstream, healths: &Healths) -> Result<Finish, RunError> {
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
            let prober = Prober::new(probe, upstream.health.interval(), Arc::clone(health), Arc::clone(&self.layer));
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
        self.serve(|| {
            let (node, eras) = (node(), Arc::clone(&eras));
            move || eras.by(node.clone())
        })?;
        Ok(Box::new(move || {
            let eras = Arc::clone(&eras);
            Box::pin(async move { eras.shutdown().await })
        }))
    }

    /// One service for each listener and core, with an upstream of its own that `upstream` makes; what it makes gives that
    /// upstream again, for the stack of a new config.
    fn serve<U, F>(&mut self, upstream: impl Fn() -> F) -> Result<(), RunError>
    where
        U: middleware::Upstream,
        F: Fn() -> U + Send + Sync + 'static,
    {
        let streams = Arc::new(Streams::new(self.config.guard().limits.sessions_max()));
        self.server.add_service(background_service("streams", Sweeper::new(Arc::clone(&streams))));
        for (index, address) in self.addresses.listeners.iter().enumerate() {
            let Some(listener) = self.config.listeners().get(index) else { continue };
            let tls = listener
                .tls
                .as_ref()
                .map(|tls| ServerTls::load(&format!("listeners[{index}].tls"), tls))
                .transpose()?;
            if let Some(tls) = &tls {
                self.watcher.server(tls);
            }
            let front = Front::new(index, &streams, self.config);
            for core in 0..host::sockets(address) {
                let upstream = upstream();
                let setup = front.setup(self.config, &self.layer.load(), upstream())?.current();
                let (connections, memory) = (self.connections.clone(), Arc::clone(&self.memory));
                let app = GuardApp::new(Arc::clone(&setup), connections, memory).tls(tls.clone());
                self.server.add_service(host::listening(app.proxied(listener.proxy_protocol), address, core));
                let (front, layer) = (front.clone(), Arc::clone(&self.layer));
                self.takeovers.push(Box::new(move |config| {
                    // A valid config's path is one.
                    if let Ok(next) = front.setup(config, &layer.load(), upstream()) {
                        setup.store(Arc::new(next));
                    }
                }));
            }
        }
        Ok(())
    }
}

/// What a listener is on all cores, and under all configs. Clones are the same.
#[derive(Clone)]
struct Front {
    /// Which one of the config's.
    index: usize,
    /// What can be resumed.
    streams: Arc<Streams>,
    /// What is open at `sse_path`.
    events: Arc<EventStreams>,
}

impl Front {
    fn new(index: usize, streams: &Arc<Streams>, config: &Config) -> Self {
        let events = Arc::new(EventStreams::new(config.guard().limits.sessions_max()));
        Self { index, streams: Arc::clone(streams), events }
    }

    /// What requests are served with under `config`, whose concerns are those of `layer`.
    fn setup<U: middleware::Upstream>(
        &self,
        config: &Config,
        layer: &GuardLayer,
        upstream: U,
    ) -> Result<Setup<GuardStack<U>>, RunError> {
        let limits = &config.guard().limits;
        let default = Listener::default();
        let listener = config.listeners().get(self.index).unwrap_or(&default);
        let silence = Silence { first: limits.header_timeout(), between: limits.keep_alive() };
        let edge = stack::edge(listener)?;
        let mut setup = Setup::new(layer.clone().edge(edge.clone()).layer(upstream), silence);
        setup.doors = Doors::of(listener, edge.clone(), limits, &self.events).map(Arc::new);
        let path = listener.path.as_str().to_owned();
        setup.resumption = Some(Arc::new(Resumption { streams: Arc::clone(&self.streams), edge, path }));
        Ok(setup)
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
