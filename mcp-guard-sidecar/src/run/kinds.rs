//! The kinds of nodes, and what each needs to be called.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;

use super::RunError;
use super::fleet::{Kind, Registers, new_health};
use crate::config::{Config, NodeUrl, Target, Upstream, is_secure};
use crate::health::Health;
use crate::probe::{Probe, Probing};
use crate::reload::{Change, Takeover, take_over};
use crate::tls::ClientTls;
use crate::upstream::balance::{self, AnyOf, Nodes};
use crate::upstream::dial::{Dialer, authority};
use crate::upstream::from_config;
use crate::upstream::http::{HttpSessions, HttpUpstream};
use crate::upstream::network::Network;
use crate::upstream::sessions::{Link, SessionNode, SessionOptions};
use crate::upstream::socket::SocketAddress;
use crate::upstream::sse::EventStream;
use crate::upstream::stdio::Children;
use crate::upstream::web_socket::WebSocket;

/// Nodes that speak Streamable HTTP.
pub(super) struct HttpNodes {
    network: Option<Arc<dyn Network>>,
    all: balance::Http,
    cores: Mutex<Vec<balance::Http>>,
    /// Where sessions are the guard's own.
    pub(super) any: AnyOf,
}

#[derive(Clone)]
pub(super) struct HttpWay {
    upstream: HttpUpstream,
    dialer: Dialer,
    /// Where sessions are the guard's own. It stays for as long as the node, so that they learn of another way.
    link: HttpSessions,
}

impl HttpNodes {
    /// None yet.
    pub(super) fn new(network: Option<Arc<dyn Network>>) -> Self {
        Self { network, all: balance::Http::default(), cores: Mutex::default(), any: AnyOf::default() }
    }

    /// The same nodes with pools for another core.
    pub(super) fn for_core(&self) -> balance::Http {
        let core = self.all.another_pool();
        self.cores.lock().unwrap_or_else(PoisonError::into_inner).push(core.clone());
        core
    }
}

impl Kind for HttpNodes {
    type Way = HttpWay;

    const HAVE_SESSIONS: bool = true;

    fn way(
        &self,
        _: &Config,
        upstream: &Upstream,
        url: &NodeUrl,
        before: Option<&HttpWay>,
    ) -> Result<HttpWay, RunError> {
        let NodeUrl::Http(uri) = url else { return Err(RunError::OtherKind) };
        let dialer = dialer(upstream, uri)?.over(self.network.clone());
        let upstream = HttpUpstream::new(from_config::http(upstream, uri, dialer.clone()))?;
        let link = before
            .map_or_else(|| HttpSessions::new(upstream.another_pool(), dialer.clone()), |before| before.link.clone());
        Ok(HttpWay { upstream, dialer, link })
    }

    fn tls(way: &HttpWay) -> Option<&ClientTls> {
        way.dialer.tls()
    }

    fn probe(&self, way: &HttpWay, upstream: &Upstream, _: bool) -> Probe {
        Probe::Http { node: way.upstream.another_pool(), timeout: upstream.health.timeout() }
    }

    fn set(&self, nodes: &Arc<Nodes>, ways: &[(&NodeUrl, &HttpWay)]) {
        self.all.set(Arc::clone(nodes), ways.iter().map(|(url, way)| (url.to_string(), way.upstream.clone())));
        let cores = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        cores.iter().for_each(|core| core.follow(&self.all));
        let link = |way: &HttpWay| {
            way.link.set(&way.upstream, &way.dialer);
            Arc::new(way.link.clone()) as Arc<dyn Link>
        };
        self.any.set(Arc::clone(nodes), ways.iter().map(|(_, way)| link(way)).collect());
    }
}

/// Nodes that have a connection for each session.
pub(super) struct SessionNodes {
    network: Option<Arc<dyn Network>>,
    any: AnyOf,
    /// All of them as one.
    pub(super) node: SessionNode,
}

#[derive(Clone)]
pub(super) struct SessionWay {
    link: Arc<dyn Link>,
    /// The node alone, to be asked whether it is well.
    asked: SessionNode,
    dialer: Option<Dialer>,
}

impl SessionNodes {
    /// None yet, with such sessions.
    pub(super) fn new(sessions: SessionOptions, network: Option<Arc<dyn Network>>) -> Self {
        let any = AnyOf::default();
        Self { node: SessionNode::new(any.clone(), sessions), any, network }
    }
}

impl Kind for SessionNodes {
    type Way = SessionWay;

    const HAVE_SESSIONS: bool = false;

    fn way(
        &self,
        config: &Config,
        upstream: &Upstream,
        url: &NodeUrl,
        _: Option<&SessionWay>,
    ) -> Result<SessionWay, RunError> {
        let (link, dialer): (Arc<dyn Link>, _) = match url {
            NodeUrl::Tcp(authority) => {
                let dialer = Dialer::new(authority, None).over(self.network.clone());
                (Arc::new(SocketAddress::Tcp(dialer)), None)
            }
            NodeUrl::Unix(path) => (Arc::new(SocketAddress::Unix(path.clone())), None),
            NodeUrl::Http(uri) | NodeUrl::Sse(uri) => {
                let dialer = dialer(upstream, uri)?.over(self.network.clone());
                (Arc::new(EventStream::new(uri.clone(), dialer.clone())), Some(dialer))
            }
            NodeUrl::WebSocket(uri) => {
                let dialer = dialer(upstream, uri)?.over(self.network.clone());
                (Arc::new(WebSocket::new(uri.clone(), dialer.clone(), upstream.profile)), Some(dialer))
            }
        };
        // What sessions of clients show is not of which node; so each is asked by itself.
        let mut asking = from_config::sessions(config, upstream);
        asking.speaks_for = Duration::ZERO;
        let asked = SessionNode::new(Arc::clone(&link), asking);
        Ok(SessionWay { link, asked, dialer })
    }

    fn tls(way: &SessionWay) -> Option<&ClientTls> {
        way.dialer.as_ref().and_then(Dialer::tls)
    }

    fn probe(&self, way: &SessionWay, _: &Upstream, is_alone: bool) -> Probe {
        Probe::Session(if is_alone { self.node.clone() } else { way.asked.clone() })
    }

    fn set(&self, nodes: &Arc<Nodes>, ways: &[(&NodeUrl, &SessionWay)]) {
        self.any.set(Arc::clone(nodes), ways.iter().map(|(_, way)| Arc::clone(&way.link)).collect());
        self.node.doubt();
    }
}

/// What makes the connections to the node at `uri`.
fn dialer(upstream: &Upstream, uri: &Uri) -> Result<Dialer, RunError> {
    let load = || ClientTls::load("upstreams[0].tls", &upstream.tls, uri.host().unwrap_or_default());
    Ok(Dialer::new(authority(uri), is_secure(uri).then(load).transpose()?))
}

/// A program that is the node, with a child for each session.
pub(super) struct Program {
    children: Children,
    pub(super) node: SessionNode,
    registers: Registers,
    health: Mutex<Arc<Health>>,
}

impl Program {
    /// That of `upstream`, which is that of `config`; `None` if that is no program.
    pub(super) fn start(config: &Config, upstream: &Upstream, registers: Registers) -> Option<Arc<Self>> {
        let Target::Stdio { command, process } = &upstream.target else { return None };
        let sessions = from_config::children(config, upstream, process);
        let children = Children::new(from_config::stdio(config, command, process), sessions.sessions_max);
        let node = children.node(sessions);
        let health = Arc::new(new_health(command.program(), upstream, false));
        let program = Self { children, node, registers, health: Mutex::new(Arc::clone(&health)) };
        program.tell(upstream, health);
        Some(Arc::new(program))
    }

    /// Takes over what another config has otherwise: children to come are its.
    pub(super) fn takeover(self: &Arc<Self>) -> Takeover {
        let program = Arc::clone(self);
        take_over(move |change| program.succeed(change))
    }

    fn succeed(&self, change: Change<'_>) {
        let Some(upstream) = change.upstream() else { return };
        let Target::Stdio { command, process } = &upstream.target else { return };
        self.children.set(from_config::stdio(change.next, command, process));
        self.node.renew(from_config::children(change.next, upstream, process));
        if change.before.upstreams().first().is_none_or(|before| before.target != upstream.target) {
            self.node.doubt();
            self.registers.layer.load().forget_tools();
        }
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if health.node() != command.program() {
            health.retire();
            *health = Arc::new(new_health(command.program(), upstream, health.is_well()));
        }
        health.enlist(upstream.health.unhealthy_after(), upstream.health.healthy_after());
        self.tell(upstream, Arc::clone(&health));
    }

    fn tell(&self, upstream: &Upstream, health: Arc<Health>) {
        let Registers { healths, prober, .. } = &self.registers;
        healths.set(vec![Arc::clone(&health)], Vec::new());
        prober.set(vec![Probing::new(Probe::Session(self.node.clone()), upstream.health.interval(), health)]);
    }
}
