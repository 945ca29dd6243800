//! Whether the node is well: so many good or bad probes in a row turn the answer round.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::gauge;
use serde_json::{Value, json};

/// The health of one node. A pure state machine behind a lock: probes are told to it.
#[derive(Debug)]
pub struct Health {
    node: String,
    unhealthy_after: u32,
    healthy_after: u32,
    state: Mutex<State>,
    /// The same as in it, for each call to read.
    is_well: AtomicBool,
}

#[derive(Debug)]
struct State {
    healthy: bool,
    was_healthy: bool,
    in_a_row: u32,
    why: String,
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
        let state = State { healthy: false, was_healthy: false, in_a_row: 0, why: "not probed yet".into() };
        Self {
            node: node.into(),
            unhealthy_after,
            healthy_after,
            state: Mutex::new(state),
            is_well: AtomicBool::new(false),
        }
    }

    /// Takes note of a probe. True if by this one a node is well again that was not any more.
    pub fn probed(&self, result: Result<(), String>) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let good = result.is_ok();
        state.why = result.err().unwrap_or_else(|| "reachable".into());
        // The very first good probe is enough: there is no failure to recover from.
        let needed = match (good, state.was_healthy) {
            (true, false) => 1,
            (true, true) => self.healthy_after,
            (false, _) => self.unhealthy_after,
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
        gauge!("mcp_guard_upstream_healthy", "node" => self.node.clone()).set(if state.healthy { 1.0 } else { 0.0 });
        has_recovered && turns
    }

    /// Whether calls should come here.
    pub fn is_well(&self) -> bool {
        self.is_well.load(Ordering::Relaxed)
    }

    /// The same for `/status`.
    pub fn status(&self) -> Value {
        let Report { healthy, why, .. } = self.report();
        json!({"node": self.node, "healthy": healthy, "why": why})
    }

    /// What is known now.
    pub fn report(&self) -> Report {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Report { healthy: state.healthy, was_healthy: state.was_healthy, why: state.why.clone() }
    }
}

/// The health of all nodes of an upstream: it is well while one of them is.
#[derive(Clone, Debug)]
pub struct Healths(Arc<[Arc<Health>]>);

impl Healths {
    /// Those of these nodes.
    pub fn new(nodes: impl IntoIterator<Item = Arc<Health>>) -> Self {
        Self(nodes.into_iter().collect())
    }

    /// Each, in their order.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Health>> {
        self.0.iter()
    }

    /// What is known now; of several nodes by name.
    pub fn report(&self) -> Report {
        let reports: Vec<(&str, Report)> = self.0.iter().map(|health| (&*health.node, health.report())).collect();
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
        let healths = Healths::new(["a", "b"].map(|node| Arc::new(Health::new(node, 1, 1))));
        assert!(!healths.report().healthy);
        healths.0[1].probed(Ok(()));
        assert!(healths.report().healthy && healths.report().was_healthy && healths.0[1].is_well());
        healths.0[1].probed(Err("refused".into()));
        assert_eq!((healths.report().healthy, &*healths.report().why), (false, "a: not probed yet; b: refused"));
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
