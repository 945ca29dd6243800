//! Whether the node is well: so many good or bad probes in a row turn the answer round.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use metrics::{Gauge, gauge};
use serde_json::{Value, json};

/// The health of one node. A pure state machine behind a lock: probes are told to it.
#[derive(Debug)]
pub struct Health {
    node: String,
    state: Mutex<State>,
    /// The same as in it, for each call to read.
    is_well: AtomicBool,
}

#[derive(Debug)]
struct State {
    unhealthy_after: u32,
    healthy_after: u32,
    healthy: bool,
    was_healthy: bool,
    in_a_row: u32,
    why: String,
    is_retired: bool,
    /// Nobody has asked it yet, and it is taken for well.
    is_presumed: bool,
}

/// What the health endpoints say.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// Whether calls should come here.
    pub healthy: bool,
    /// Whether they ever should have.
    pub was_healthy: bool,
    /// Why.
    pub why: String,
}

impl Health {
    /// A node that is not well until its first good probe.
    pub fn new(node: impl Into<String>, unhealthy_after: u32, healthy_after: u32) -> Self {
        let state = State {
            unhealthy_after,
            healthy_after,
            healthy: false,
            was_healthy: false,
            in_a_row: 0,
            why: "not probed yet".into(),
            is_retired: false,
            is_presumed: false,
        };
        Self { node: node.into(), state: Mutex::new(state), is_well: AtomicBool::new(false) }
    }

    /// The same for a node that is taken for well until its first probe.
    #[must_use]
    pub fn presumed_well(self) -> Self {
        {
            let mut state = self.lock();
            (state.healthy, state.was_healthy, state.is_presumed) = (true, true, true);
        }
        self.is_well.store(true, Ordering::Relaxed);
        self
    }

    /// How the node is called.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// It is to be heard of, and so many probes in a row turn the answer round from now on.
    pub fn enlist(&self, unhealthy_after: u32, healthy_after: u32) {
        let mut state = self.lock();
        state.is_retired = false;
        (state.unhealthy_after, state.healthy_after) = (unhealthy_after, healthy_after);
    }

    /// Nobody is to hear of it any more. The page of metrics shows no series that is no number.
    pub fn retire(&self) {
        let mut state = self.lock();
        state.is_retired = true;
        self.gauge().set(f64::NAN);
    }

    fn gauge(&self) -> Gauge {
        gauge!("mcp_guard_upstream_healthy", "node" => self.node.clone())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a probe. True if by this one a node is well again that was not any more.
    pub fn probed(&self, result: Result<(), String>) -> bool {
        let mut state = self.lock();
        let good = result.is_ok();
        state.why = result.err().unwrap_or_else(|| "reachable".into());
        // The very first good probe is enough: there is no failure to recover from.
        let was_presumed = std::mem::take(&mut state.is_presumed);
        let needed = match (good, state.was_healthy) {
            _ if was_presumed => 1,
            (true, false) => 1,
            (true, true) => state.healthy_after,
            (false, _) => state.unhealthy_after,
        };
        let has_recovered = good && !state.healthy && state.was_healthy;
        state.in_a_row = if good == state.healthy { 0 } else { state.in_a_row + 1 };
        let turns = state.in_a_row >= needed;
        if turns {
            state.healthy = good;
            state.was_healthy |= good;
            state.in_a_row = 0;
            self.is_well.store(good, Ordering::Relaxed);
        }
        if !state.is_retired {
            self.gauge().set(if state.healthy { 1.0 } else { 0.0 });
        }
        has_recovered && turns
    }

    /// Whether calls should come here.
    pub fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Relaxed)
    }

    /// What is known now.
    pub fn report(&self) -> Report {
        let state = self.lock();
        Report { healthy: state.healthy, was_healthy: state.was_healthy, why: state.why.clone() }
    }
}

/// The health of all nodes of an upstream: it is well while one of them is. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Healths(Arc<ArcSwap<Nodes>>);

#[derive(Debug, Default)]
struct Nodes {
    listed: Vec<Arc<Health>>,
    leaving: Vec<Arc<Health>>,
}

impl Healths {
    /// From now on those of these nodes: that are `listed`, and that only have sessions left.
    pub fn set(&self, listed: Vec<Arc<Health>>, leaving: Vec<Arc<Health>>) {
        self.0.store(Arc::new(Nodes { listed, leaving }));
    }

    /// Each for `/status`.
    pub fn status(&self) -> Vec<Value> {
        let nodes = self.0.load();
        let status = |health: &Arc<Health>, is_leaving: bool| {
            let Report { healthy, why, .. } = health.report();
            json!({"node": health.node, "healthy": healthy, "why": why, "leaving": is_leaving})
        };
        let listed = nodes.listed.iter().map(|health| status(health, false));
        listed.chain(nodes.leaving.iter().map(|health| status(health, true))).collect()
    }

    /// What is known now of those that are listed; of several by name.
    pub fn report(&self) -> Report {
        let nodes = self.0.load();
        let reports: Vec<(&str, Report)> = nodes.listed.iter().map(|health| (health.node(), health.report())).collect();
        let why = match reports.as_slice() {
            [(_, report)] => report.why.clone(),
            several => {
                let told: Vec<String> =
                    several.iter().map(|(node, report)| format!("{node}: {}", report.why)).collect();
                told.join("; ")
            }
        };
        Report {
            healthy: reports.iter().any(|(_, report)| report.healthy),
            was_healthy: reports.iter().any(|(_, report)| report.was_healthy),
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_nodes_are_well_while_one_is() {
        let (healths, [a, b]) = (Healths::default(), ["a", "b"].map(|node| Arc::new(Health::new(node, 1, 1))));
        healths.set(vec![Arc::clone(&a), Arc::clone(&b)], vec![]);
        assert!(!healths.report().healthy);
        b.probed(Ok(()));
        assert!(healths.report().healthy && healths.report().was_healthy && b.is_well());
        healths.set(vec![a], vec![Arc::clone(&b)]);
        assert!(!healths.report().healthy, "one that leaves does not count");
        assert_eq!(healths.status()[1]["leaving"], true);
    }

    #[test]
    fn one_that_is_taken_for_well_is_so_until_its_first_probe() {
        for (first, is_well) in [(Ok(()), true), (Err("refused".into()), false)] {
            let health = Health::new("n", 3, 2).presumed_well();
            assert!(health.is_well() && health.report().healthy);
            assert!(!health.probed(first));
            assert_eq!((health.is_well(), health.report().healthy), (is_well, is_well));
        }
    }

    #[test]
    fn so_many_bad_probes_in_a_row_turn_it_round_and_so_many_good_ones_back() {
        let health = Health::new("n", 3, 2);
        let bad = || health.probed(Err("refused".into()));
        let good = || health.probed(Ok(()));
        assert!(!good(), "it is well, not well again");
        assert!(health.report().healthy);
        bad();
        bad();
        good();
        bad();
        bad();
        assert!(health.report().healthy, "never three in a row");
        bad();
        assert!(!health.report().healthy);
        assert!(!good() && !health.report().healthy);
        assert!(good() && health.report().healthy);
        assert!(!good(), "it was well before");
    }
}
