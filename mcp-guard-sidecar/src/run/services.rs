//! The services of one guard, and what a reload changes in them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use mcp_guard::middleware;
use mcp_guard::{GuardLayer, GuardStack};
use tower::Layer;

use super::fleet::{Fleet, Registers};
use super::hosting::Host;
use super::kinds::{HttpNodes, Program, SessionNodes};
use super::{Addresses, RunError};
use crate::activity::Silence;
use crate::admission::Connections;
use crate::clients::{Doors, EventStreams};
use crate::config::{Config, Era, Listener, Target, Upstream};
use crate::connection::GuardApp;
use crate::hand_over::{Exchange, Kept};
use crate::host::Finish;
use crate::memory::Memory;
use crate::reload::{Change, Takeover, take_over};
use crate::resume::{Resumption, Streams, Sweeper};
use crate::setup::Setup;
use crate::stack;
use crate::tls::{ServerTls, Watcher};
use crate::upstream::eras::{Eras, NodeUpstream, always};
use crate::upstream::from_config;
use crate::upstream::sessions::SessionNode;

/// What the services of one guard are made of.
pub(super) struct Guard<'a, S> {
    pub(super) config: &'a Config,
    pub(super) addresses: &'a Addresses,
    pub(super) host: &'a mut S,
    /// The concerns that count now.
    pub(super) layer: Arc<ArcSwap<GuardLayer>>,
    pub(super) connections: Connections,
    pub(super) memory: Arc<Memory>,
    pub(super) watcher: Watcher,
    pub(super) exchange: Exchange,
    /// What each part does with a new config, once the concerns have it.
    pub(super) takeovers: Vec<Takeover>,
}

impl<S: Host> Guard<'_, S> {
    /// Adds the services for `upstream`, whose nodes are told to `registers`, and says what has to be done at the end.
    pub(super) fn serve_upstream(&mut self, upstream: &Upstream, registers: Registers) -> Result<Finish, RunError> {
        if upstream.target.is_http() {
            return self.serve_http(upstream, registers);
        }
        let (node, takeover) = match Program::start(self.config, upstream, registers.clone()) {
            Some(program) => (program.node.clone(), program.takeover()),
            None => self.session_nodes(upstream, registers)?,
        };
        self.takeovers.push(takeover);
        let finish = self.serve_eras(upstream, Sessions::Nodes(node.clone()), || node.clone())?;
        Ok(both(finish, end_sessions(node)))
    }

    /// Serves nodes that speak Streamable HTTP.
    fn serve_http(&mut self, upstream: &Upstream, registers: Registers) -> Result<Finish, RunError> {
        let fleet = Fleet::start(HttpNodes::new(self.host.network()), self.config, upstream, registers)?;
        self.takeovers.push(fleet.takeover());
        // A stateless node has none that could be opened again.
        let has_own = upstream.fails_over() && upstream.era != Era::Stateless;
        let sessions = from_config::own_sessions(self.config, upstream);
        let own = has_own.then(|| SessionNode::new(fleet.kind.any.clone(), sessions));
        self.serve_eras(upstream, own.map_or(Sessions::None, Sessions::Own), || fleet.kind.for_core())
    }

    /// Nodes that have a connection for each session, and how they take over another config.
    fn session_nodes(
        &mut self,
        upstream: &Upstream,
        registers: Registers,
    ) -> Result<(SessionNode, Takeover), RunError> {
        let nodes = SessionNodes::new(from_config::sessions(self.config, upstream), self.host.network());
        let fleet = Fleet::start(nodes, self.config, upstream, registers)?;
        let node = fleet.kind.node.clone();
        let (fleets, renewed) = (fleet.takeover(), node.clone());
        self.takeovers.push(take_over(move |change| {
            if let Some(upstream) = change.upstream() {
                renewed.renew(from_config::sessions(change.next, upstream));
            }
        }));
        Ok((node, fleets))
    }

    /// Serves clients of both eras, where they may; gives what has to be done at the end.
    fn serve_eras<U: NodeUpstream>(
        &mut self,
        upstream: &Upstream,
        legacy: Sessions,
        node: impl Fn() -> U,
    ) -> Result<Finish, RunError> {
        let sessions = from_config::own_sessions(self.config, upstream);
        let mut eras = Eras::new(node(), from_config::era(upstream), places(self.config, upstream), sessions)
            .with(self.exchange.clone());
        let mut kept = Vec::new();
        match legacy {
            Sessions::None => {}
            Sessions::Own(own) => eras = eras.in_own_sessions(own),
            Sessions::Nodes(node) => kept.push(Kept { name: "node", node, are_some: always() }),
        }
        kept.extend(eras.kept());
        self.exchange.set_kept(kept);
        let eras = Arc::new(eras);
        self.host.background("eras", eras.sweeper());
        let changed = Arc::clone(&eras);
        self.takeovers.push(take_over(move |change| {
            if let Some(upstream) = change.upstream() {
                let sessions = from_config::own_sessions(change.next, upstream);
                changed.other_nodes(places(change.next, upstream), &sessions);
            }
        }));
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
        self.host.background("streams", Sweeper::new(Arc::clone(&streams)));
        for (index, address) in self.addresses.listeners.iter().enumerate() {
            let Some(listener) = self.config.listeners().get(index) else { continue };
            let tls = listener
                .tls
                .as_ref()
                .map(|tls| ServerTls::load(&format!("listeners[{index}].tls"), tls))
                .transpose()?;
            if let Some(tls) = &tls {
                self.watcher.add_server(tls);
            }
            let front = Front::new(index, &streams, self.config);
            for core in 0..self.host.sockets(address) {
                let upstream = upstream();
                let setup = front.setup(self.config, &self.layer.load(), upstream())?.current();
                let (connections, memory) = (self.connections.clone(), Arc::clone(&self.memory));
                let app = GuardApp::new(Arc::clone(&setup), connections, memory).tls(tls.clone());
                self.host.listening(app.proxied(listener.proxy_protocol), address, core);
                let (front, layer) = (front.clone(), Arc::clone(&self.layer));
                self.takeovers.push(take_over(move |Change { next, .. }| {
                    // A valid config's path is one.
                    if let Ok(next) = front.setup(next, &layer.load(), upstream()) {
                        setup.store(Arc::new(next));
                    }
                }));
            }
        }
        Ok(())
    }
}

/// How many calls the nodes may serve at once.
fn places(config: &Config, upstream: &Upstream) -> usize {
    match &upstream.target {
        Target::Urls(urls) if upstream.target.is_http() => upstream.connections.get() * urls.len(),
        Target::Urls(_) => from_config::sessions(config, upstream).sessions_max.get(),
        Target::Stdio { process, .. } => from_config::children(config, upstream, process).sessions_max.get(),
    }
}

/// Whose the sessions of legacy clients are.
enum Sessions {
    /// The nodes', and none of the guard's business.
    None,
    /// The guard's, though the nodes have some.
    Own(SessionNode),
    /// The guard's, and the nodes have none.
    Nodes(SessionNode),
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
