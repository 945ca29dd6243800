//! The nodes of the upstream, which another config may replace.
//!
//! | the new config's node                   | what happens                                                             |
//! |-----------------------------------------|--------------------------------------------------------------------------|
//! | is there already, and called alike      | its connections, its health, and what it has to do, stay as they are     |
//! | is there already, and called otherwise  | calls to come go over new connections; a session that is a connection stays as it is |
//! | is new                                  | it gets its share                                                        |
//! | is missing, and has sessions by itself  | they go on; it gets nothing new, and is forgotten once it is unwell, or was not called for `limits.session_idle` |
//! | is missing, and sessions are connections | they go on as long as their connections                                  |

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use mcp_guard::GuardLayer;
use mcp_guard::middleware::clock;

use super::RunError;
use super::nodes::{full_name, node_names};
use crate::config::{Config, NodeUrl, Target, Timeouts, Upstream, UpstreamTls};
use crate::health::{Health, Healths};
use crate::probe::{Probe, Prober, Probing};
use crate::reload::Takeover;
use crate::tls::{ClientTls, Watcher};
use crate::upstream::balance::{Node, Nodes};

/// A kind of node that listens.
pub(super) trait Kind: Send + Sync + 'static {
    /// What it takes to call one.
    type Way: Clone + Send + Sync;

    /// Whether sessions are the nodes' own, so that they need their node after it is no longer listed.
    const HAVE_SESSIONS: bool;

    /// The way to the node at `url`, which takes the place of the one `before`.
    fn way(
        &self,
        config: &Config,
        upstream: &Upstream,
        url: &NodeUrl,
        before: Option<&Self::Way>,
    ) -> Result<Self::Way, RunError>;

    /// What it has of TLS.
    fn tls(way: &Self::Way) -> Option<&ClientTls>;

    /// How a node is asked whether it is well.
    fn probe(&self, way: &Self::Way, upstream: &Upstream, is_alone: bool) -> Probe;

    /// From now on these are the `nodes`, and the ways to them in their order: those that are listed first.
    fn set(&self, nodes: &Arc<Nodes>, ways: &[(&NodeUrl, &Self::Way)]);
}

/// Who has to know which nodes there are. Clones are the same.
#[derive(Clone)]
pub(super) struct Registers {
    pub(super) healths: Healths,
    pub(super) prober: Prober,
    pub(super) watcher: Watcher,
    /// The concerns that count now.
    pub(super) layer: Arc<ArcSwap<GuardLayer>>,
}

/// The nodes of one kind.
pub(super) struct Fleet<K: Kind> {
    pub(super) kind: K,
    registers: Registers,
    session_idle: Duration,
    members: Mutex<Members<K::Way>>,
    /// For what is done after each probe of one that leaves.
    me: Weak<Self>,
}

struct Members<W> {
    upstream: Upstream,
    listed: Vec<Member<W>>,
    leaving: Vec<Member<W>>,
}

#[derive(Clone)]
struct Member<W> {
    url: NodeUrl,
    way: W,
    /// What the way was made by.
    called: Called,
    node: Arc<Node>,
    health: Arc<Health>,
}

impl<W> Members<W> {
    fn all(&self) -> impl Iterator<Item = &Member<W>> {
        self.listed.iter().chain(&self.leaving)
    }
}

impl<K: Kind> Fleet<K> {
    /// The nodes of `upstream`, which is that of `config`.
    pub(super) fn start(
        kind: K,
        config: &Config,
        upstream: &Upstream,
        registers: Registers,
    ) -> Result<Arc<Self>, RunError> {
        let members = Members { upstream: upstream.clone(), listed: Vec::new(), leaving: Vec::new() };
        let session_idle = config.guard().limits.session_idle();
        let fleet = Arc::new_cyclic(|me| Self {
            kind,
            registers,
            session_idle,
            members: Mutex::new(members),
            me: Weak::clone(me),
        });
        let listed = fleet.prepare(config, upstream)?;
        fleet.commit(upstream, listed);
        Ok(fleet)
    }

    /// Takes over what another config has otherwise.
    pub(super) fn takeover(self: &Arc<Self>) -> Takeover {
        let fleet = Arc::clone(self);
        Box::new(move |change| {
            let Some(upstream) = change.upstream() else { return Ok(Box::new(|_| {})) };
            let listed = fleet.prepare(change.next, upstream).map_err(|error| error.to_string())?;
            let (fleet, upstream) = (Arc::clone(&fleet), upstream.clone());
            Ok(Box::new(move |_| fleet.commit(&upstream, listed)))
        })
    }

    /// The nodes that `upstream` lists.
    fn prepare(&self, config: &Config, upstream: &Upstream) -> Result<Vec<Member<K::Way>>, RunError> {
        let Target::Urls(urls) = &upstream.target else { return Ok(Vec::new()) };
        let members = self.lock();
        let called = Called::by(upstream);
        let is_well = members.listed.iter().any(|member| member.health.is_well());
        let member = |(url, name): (&NodeUrl, String)| {
            let known = members.all().find(|member| member.url == *url);
            let way = match known {
                Some(known) if known.called == called => known.way.clone(),
                _ => self.kind.way(config, upstream, url, known.map(|known| &known.way))?,
            };
            // A name means one node in metrics, also while another leaves.
            let is_taken = members.all().any(|member| member.url != *url && member.health.node() == name);
            let name = if is_taken { full_name(url) } else { name };
            let (node, health) = match known.filter(|known| known.health.node() == name) {
                Some(known) => (Arc::clone(&known.node), Arc::clone(&known.health)),
                None => {
                    let health = Arc::new(new_health(&name, upstream, is_well));
                    (Arc::new(Node::new(Arc::clone(&health))), health)
                }
            };
            Ok(Member { url: url.clone(), way, called: called.clone(), node, health })
        };
        urls.iter().zip(node_names(upstream)).map(member).collect()
    }

    fn commit(&self, upstream: &Upstream, listed: Vec<Member<K::Way>>) {
        let mut members = self.lock();
        let is_listed = |member: &Member<K::Way>| listed.iter().any(|other| other.url == member.url);
        if !members.listed.iter().any(is_listed) {
            self.registers.layer.load().forget_tools();
        }
        let before: Vec<_> = members.all().cloned().collect();
        members.upstream = upstream.clone();
        members.leaving = before.iter().filter(|member| K::HAVE_SESSIONS && !is_listed(member)).cloned().collect();
        for member in &listed {
            member.health.enlist(upstream.health.unhealthy_after(), upstream.health.healthy_after());
            member.node.enlist();
        }
        members.listed = listed;
        let is_there = |gone: &Member<K::Way>| members.all().any(|member| Arc::ptr_eq(&member.health, &gone.health));
        before.iter().filter(|member| !is_there(member)).for_each(|member| member.health.retire());
        self.tell(&members);
    }

    /// Forgets those nodes that are no longer listed and have no sessions any more, as far as can be told.
    fn forget_who_left(&self) {
        let (mut members, now) = (self.lock(), clock::now());
        let is_needed = |member: &Member<K::Way>| {
            let is_needed = member.health.is_well() && !member.node.is_unused(now, self.session_idle);
            if !is_needed {
                tracing::info!(node = member.health.node(), "the node is no longer listed, and is not needed any more");
                member.health.retire();
            }
            is_needed
        };
        let before = members.leaving.len();
        members.leaving.retain(is_needed);
        if members.leaving.len() < before {
            self.tell(&members);
        }
    }

    fn tell(&self, members: &Members<K::Way>) {
        let Members { upstream, listed, leaving } = members;
        let node = |member: &Member<K::Way>| Arc::clone(&member.node);
        let nodes = Nodes::new(listed.iter().map(node), leaving.iter().map(node));
        self.kind.set(&nodes, &members.all().map(|member| (&member.url, &member.way)).collect::<Vec<_>>());
        let Registers { healths, prober, watcher, .. } = &self.registers;
        let health = |member: &Member<K::Way>| Arc::clone(&member.health);
        healths.set(listed.iter().map(health).collect(), leaving.iter().map(health).collect());
        watcher.set_clients(members.all().filter_map(|member| K::tls(&member.way)));
        let probing = |member: &Member<K::Way>| {
            let probe = self.kind.probe(&member.way, upstream, listed.len() == 1);
            Probing::new(probe, upstream.health.interval(), Arc::clone(&member.health))
        };
        let leaves = |member: &Member<K::Way>| {
            let fleet = Weak::clone(&self.me);
            probing(member).then(move || {
                if let Some(fleet) = fleet.upgrade() {
                    fleet.forget_who_left();
                }
            })
        };
        prober.set(listed.iter().map(probing).chain(leaving.iter().map(leaves)).collect());
    }

    fn lock(&self) -> MutexGuard<'_, Members<K::Way>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a way to a node depends on beside its URL and what cannot change.
#[derive(Clone, PartialEq)]
struct Called {
    tls: UpstreamTls,
    connections: NonZeroUsize,
    timeouts: Timeouts,
    ping_timeout: Duration,
}

impl Called {
    fn by(upstream: &Upstream) -> Self {
        Self {
            tls: upstream.tls.clone(),
            connections: upstream.connections,
            timeouts: upstream.timeouts.clone(),
            ping_timeout: upstream.health.timeout(),
        }
    }
}

/// What is known of the health of a node that nobody has asked yet. One that takes the place of nodes that are well is taken for
/// well until it is asked: that is done at once, and readiness would be off meanwhile.
pub(super) fn new_health(name: &str, upstream: &Upstream, is_presumed_well: bool) -> Health {
    let health = Health::new(name, upstream.health.unhealthy_after(), upstream.health.healthy_after());
    if is_presumed_well { health.presumed_well() } else { health }
}
