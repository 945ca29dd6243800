//! What a breaker's changes look like in metrics and logs.

use std::collections::HashMap;
use std::sync::Arc;

use metrics::{Gauge, gauge};

use super::node::Change;
use super::state::Phase;
use super::tools::TOOLS_MAX;

/// Sets `mcp_guard_breaker_state{node,tool}` and writes a line of log when a breaker changes. The node's own has the tool `""`.
///
/// The gauge is 0 passing, 1 probing, 2 tripped. Only tools that tripped have one, and at most [`TOOLS_MAX`] of a node: series are
/// never taken back, and a client chooses names. The log tells of those without.
pub(super) struct Report {
    node: Arc<str>,
    gauges: HashMap<Arc<str>, (Gauge, Phase)>,
}

impl Report {
    pub(super) fn new(node: Arc<str>) -> Self {
        Self { node, gauges: HashMap::new() }
    }

    pub(super) fn node(&self) -> &Arc<str> {
        &self.node
    }

    /// Goes on under another name.
    pub(super) fn set_node(&mut self, node: &str) {
        if *self.node == *node {
            return;
        }
        self.node = node.into();
        for (tool, (gauge, phase)) in std::mem::take(&mut self.gauges) {
            // There is no other way to take a series back.
            gauge.set(f64::NAN);
            self.set(&tool, phase);
        }
    }

    /// Reports `change`.
    pub(super) fn change(&mut self, change: &Change) {
        let tool = change.tool.as_deref().unwrap_or_default();
        let (node, state) = (&*self.node, change.phase.as_str());
        match change.phase {
            Phase::Tripped => tracing::warn!(node, tool, state, "breaker changed"),
            Phase::Passing | Phase::Probing => tracing::info!(node, tool, state, "breaker changed"),
        }
        self.set(tool, change.phase);
    }

    /// Sets the gauge of `tool`.
    pub(super) fn set(&mut self, tool: &str, phase: Phase) {
        if let Some((gauge, last)) = self.gauges.get_mut(tool) {
            *last = phase;
            return gauge.set(phase.gauge());
        }
        if self.gauges.len() <= TOOLS_MAX {
            let gauge = gauge!("mcp_guard_breaker_state", "node" => Arc::clone(&self.node), "tool" => tool.to_owned());
            gauge.set(phase.gauge());
            self.gauges.insert(tool.into(), (gauge, phase));
        }
    }
}
