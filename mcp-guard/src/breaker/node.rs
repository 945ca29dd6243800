//! The breaker of one node and those of its tools, asked and settled together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::circuit::{Circuit, Decision, Ticket};
use super::policy::BreakerPolicy;
use super::state::Phase;
use super::tools::{ToolTicket, Tools};
use crate::outcome::{Outcome, Verdict};

/// All breakers of one node, without any adapter. A call passes if the node's and its tool's let it.
#[derive(Debug)]
pub struct NodeBreaker {
    node: Circuit,
    tools: Tools,
    changes: Vec<Change>,
}

/// What a breaker has to know about a call.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by callers")]
pub struct Ask<'a> {
    /// The tool that is called, if it is a tool call.
    pub tool: Option<&'a str>,
    /// Whether the call is safe to repeat.
    pub is_safe: bool,
}

/// A call that was let through, to be settled once.
#[derive(Debug)]
#[must_use]
pub struct Pass {
    node: Ticket,
    tool: Option<ToolTicket>,
}

/// A call that was not let through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stop {
    /// Whether it is the tool's breaker that refuses; else the node's.
    pub by_tool: bool,
    /// How long until it is worth asking again.
    pub retry_after: Duration,
}

/// A breaker that is now in another phase.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Change {
    /// The tool, or `None` for the node.
    pub tool: Option<Arc<str>>,
    /// What it does with calls now.
    pub phase: Phase,
}

impl NodeBreaker {
    /// Breakers that let calls pass, from `now` on.
    pub fn new(policy: BreakerPolicy, now: Instant) -> Self {
        Self { node: Circuit::new(policy, now), tools: Tools::new(policy), changes: Vec::new() }
    }

    /// Goes on under another policy: what is tripped stays so, and results are counted anew.
    pub fn set_policy(&mut self, policy: BreakerPolicy, now: Instant) {
        self.node.set_policy(policy, now);
        self.tools.set_policy(policy, now);
    }

    /// Lets the call through, or says who refuses it and for how long.
    ///
    /// # Errors
    ///
    /// [`Stop`] while the node's or the tool's breaker is tripped, or another call has the place of its probe.
    pub fn admit(&mut self, ask: Ask<'_>, now: Instant) -> Result<Pass, Stop> {
        let before = self.node.phase();
        let answer = self.ask_both(ask, now);
        self.note_node(before);
        answer
    }

    /// Takes note of how a call ended, for its tool and for the node.
    ///
    /// A failure that trips the tool's breaker is dealt with by that, and is not counted against the node: one bad
    /// tool in a row of calls would else take the whole node down with it.
    pub fn settle(&mut self, pass: Pass, outcome: Outcome, now: Instant) {
        let of_tool = pass.tool.and_then(|tool| self.tools.settle(tool, outcome.of_tool(), now));
        let tripped = of_tool.as_ref().is_some_and(|change| change.phase == Phase::Tripped);
        self.changes.extend(of_tool);
        let before = self.node.phase();
        self.node.settle(pass.node, if tripped { Verdict::Unknown } else { outcome.of_node() }, now);
        self.note_node(before);
    }

    /// What changed since this was last asked: at most a node and two tools for each call, so ask after each.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    #[cfg(test)]
    pub(super) fn tools_for_test(&mut self) -> &mut Tools {
        &mut self.tools
    }

    fn ask_both(&mut self, ask: Ask<'_>, now: Instant) -> Result<Pass, Stop> {
        let node = match self.node.admit(ask.is_safe, now) {
            Decision::Admit(ticket) => ticket,
            Decision::Refuse { retry_after } => return Err(Stop { by_tool: false, retry_after }),
        };
        let Some(tool) = ask.tool else {
            return Ok(Pass { node, tool: None });
        };
        match self.tools.admit(tool, ask.is_safe, now, &mut self.changes) {
            Ok(tool) => Ok(Pass { node, tool }),
            Err(retry_after) => {
                // The node's ticket may be its probe: the place goes to the next call.
                self.node.settle(node, Outcome::Refused.of_node(), now);
                Err(Stop { by_tool: true, retry_after })
            }
        }
    }

    fn note_node(&mut self, before: Phase) {
        if self.node.phase() != before {
            self.changes.push(Change { tool: None, phase: self.node.phase() });
        }
    }
}
