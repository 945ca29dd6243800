//! The breakers of a node's tools, in a table that cannot outgrow its bound.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::circuit::{Circuit, Decision, Ticket};
use super::node::Change;
use super::policy::BreakerPolicy;
use super::state::Phase;
use crate::outcome::Verdict;
use crate::ring::Ring;

/// Breakers by tool name.
///
/// When the table is full, one of the forgettable breakers (calls pass, or nobody came for longer than it may stay tripped) makes room,
/// one that was not used for long ([`Ring`]). If there is none, a new tool gets no breaker of its own: the node's still holds.
#[derive(Debug)]
pub(super) struct Tools {
    policy: BreakerPolicy,
    by_name: HashMap<Arc<str>, Entry>,
    ring: Ring,
    /// Counts admissions: what tells a breaker from an earlier one of the same name.
    turn: u64,
}

#[derive(Debug)]
struct Entry {
    /// The key again, to be handed out.
    name: Arc<str>,
    circuit: Circuit,
    born: u64,
    /// Since the hand of the ring came by.
    is_used: bool,
}

/// A tool call that was let through.
#[derive(Debug)]
pub(super) struct ToolTicket {
    tool: Arc<str>,
    born: u64,
    ticket: Ticket,
}

impl Tools {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self { policy, by_name: HashMap::new(), ring: Ring::default(), turn: 0 }
    }

    /// Goes on under another policy.
    pub(super) fn set_policy(&mut self, policy: BreakerPolicy, now: Instant) {
        self.policy = policy;
        self.by_name.values_mut().for_each(|entry| entry.circuit.set_policy(policy, now));
    }

    /// Lets a call of `tool` through, with no ticket if the tool has no breaker, or says how long to wait.
    pub(super) fn admit(
        &mut self,
        tool: &str,
        is_safe: bool,
        now: Instant,
        changes: &mut Vec<Change>,
    ) -> Result<Option<ToolTicket>, Duration> {
        self.turn += 1;
        // Nearly always there is one, so it is looked for once.
        let Some(entry) = self.by_name.get_mut(tool) else {
            return if self.insert(tool, now, changes) { self.admit(tool, is_safe, now, changes) } else { Ok(None) };
        };
        let name = Arc::clone(&entry.name);
        entry.is_used = true;
        let before = entry.circuit.phase();
        let decision = entry.circuit.admit(is_safe, now);
        changes.extend(change(&name, before, entry.circuit.phase()));
        match decision {
            Decision::Admit(ticket) => Ok(Some(ToolTicket { tool: name, born: entry.born, ticket })),
            Decision::Refuse { retry_after } => Err(retry_after),
        }
    }

    /// Takes note of how a call ended. A breaker that was forgotten meanwhile is not brought back.
    pub(super) fn settle(&mut self, ticket: ToolTicket, verdict: Verdict, now: Instant) -> Option<Change> {
        let entry = self.by_name.get_mut(&ticket.tool).filter(|entry| entry.born == ticket.born)?;
        let before = entry.circuit.phase();
        entry.circuit.settle(ticket.ticket, verdict, now);
        change(&ticket.tool, before, entry.circuit.phase())
    }

    /// Makes a breaker for `tool`, or says that it gets none.
    fn insert(&mut self, tool: &str, now: Instant, changes: &mut Vec<Change>) -> bool {
        if TOOL_NAME_BYTES_MAX < tool.len() {
            return false;
        }
        let name = Arc::<str>::from(tool);
        if self.by_name.len() < TOOLS_MAX {
            self.ring.push(Arc::clone(&name));
        } else {
            match self.evict(Arc::clone(&name), now) {
                Some(change) => changes.extend(change),
                None => return false,
            }
        }
        let circuit = Circuit::new(self.policy, now);
        self.by_name.insert(Arc::clone(&name), Entry { name, circuit, born: self.turn, is_used: true });
        true
    }

    /// Forgets one breaker for that of `tool`, and what that changes; `None` if none can be spared.
    fn evict(&mut self, tool: Arc<str>, now: Instant) -> Option<Option<Change>> {
        let by_name = &mut self.by_name;
        let name = self.ring.replace(tool, |name| {
            let entry = by_name.get_mut(name);
            entry.is_some_and(|entry| std::mem::take(&mut entry.is_used) || !entry.circuit.is_forgettable(now))
        })?;
        let entry = self.by_name.remove(&name)?;
        Some(change(&name, entry.circuit.phase(), Phase::Passing))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }
}

fn change(tool: &Arc<str>, before: Phase, after: Phase) -> Option<Change> {
    (before != after).then(|| Change { tool: Some(Arc::clone(tool)), phase: after })
}

/// The most tools of one node that have a breaker of their own; some 400 bytes each. Nodes with more are not known.
pub const TOOLS_MAX: usize = 1024;

/// The longest name of a tool that gets a breaker of its own: what 2025-11-25 allows a tool name to be.
pub const TOOL_NAME_BYTES_MAX: usize = 128;
