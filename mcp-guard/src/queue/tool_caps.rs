//! Fixed caps on how many calls of one tool run at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::class::Client;
use super::drain::DrainRate;
use super::line::{Line, Ticket};
use crate::config::ToolPolicy;
use crate::matcher::Pattern;

/// Most tools that have a cap of their own at one time.
///
/// A tool has one only while a call of it runs or waits, so names that clients invent do not pile up. Tools beyond it
/// share one cap for each pattern until there is room again.
pub(super) const TOOLS_MAX: usize = 1024;

/// Names the cap that a call counts against.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum CapKey {
    /// The cap of the tool of this name.
    Tool(Arc<str>),
    /// The cap that tools beyond [`TOOLS_MAX`] share: that of the entry with this index.
    Shared(usize),
}

/// One tool's places, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Cap {
    most: u32,
    running: u32,
    /// Calls that wait for one of the places, and how many they are.
    line: Line,
    waiting: u32,
    /// How many of the places that are taken are those of calls in line for the node.
    pub(super) in_line: u32,
    drain: DrainRate,
}

/// The caps of all tools that have one.
#[derive(Debug)]
pub(super) struct ToolCaps {
    rules: Vec<(Pattern, Option<u32>)>,
    tools: BTreeMap<Arc<str>, Cap>,
    shared: Vec<Cap>,
}

/// What [`ToolCaps::take`] found.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Taken {
    /// The tool has no cap.
    Uncapped,
    /// A place of the cap was taken.
    Place(CapKey),
    /// All places of the cap are taken, or others wait for one.
    Full(CapKey),
}

impl ToolCaps {
    /// The caps that `tools` asks for. The first entry whose name matches counts, also if it asks for none.
    pub(super) fn new(tools: &[ToolPolicy]) -> Self {
        let capped = tools.iter().rposition(|tool| tool.concurrency.is_some()).map_or(0, |last| last + 1);
        let rules: Vec<_> =
            tools.iter().take(capped).map(|tool| (tool.name.clone(), tool.concurrency.map(u32::from))).collect();
        let shared = rules.iter().map(|(_, most)| Cap::of(most.unwrap_or(u32::MAX))).collect();
        Self { rules, tools: BTreeMap::new(), shared }
    }

    /// Takes a place of the cap of `tool`, if it has one and a place is free.
    pub(super) fn take(&mut self, tool: Option<&str>) -> Taken {
        let Some(key) = tool.and_then(|tool| self.key(tool)) else { return Taken::Uncapped };
        match self.cap(&key) {
            Some(cap) if cap.has_place() => {
                cap.running += 1;
                Taken::Place(key)
            }
            Some(_) | None => Taken::Full(key),
        }
    }

    /// Whether a call of `tool` would wait for its tool and for nothing else: all places of the cap are taken, none of them by one
    /// who waits for the node.
    pub(super) fn is_all_that_lacks(&self, tool: Option<&str>) -> bool {
        let cap = tool.and_then(|tool| match self.tools.get(tool) {
            Some(cap) => Some(cap),
            None if self.tools.len() < TOOLS_MAX => None,
            None => self.entry(tool).and_then(|index| self.shared.get(index)),
        });
        cap.is_some_and(|cap| !cap.has_place() && cap.in_line == 0)
    }

    /// Gives a place back. Whoever waits for it must be let on with [`Self::take_from_line`] before anything else
    /// happens. `ran` says since when the call ran that had it.
    pub(super) fn give_back(&mut self, key: &CapKey, ran: Option<Instant>, now: Instant) {
        if let Some(cap) = self.cap(key) {
            cap.running = cap.running.saturating_sub(1);
            ran.into_iter().for_each(|since| cap.drain.freed(now.saturating_duration_since(since), now));
        }
    }

    /// Takes the free place, if there is one, for one who stood in line, and now stands in that for the node.
    pub(super) fn take_from_line(&mut self, key: &CapKey) -> Option<Ticket> {
        let cap = self.cap(key)?;
        if cap.running >= cap.most {
            return None;
        }
        let ticket = cap.line.pop()?;
        cap.waiting -= 1;
        cap.running += 1;
        cap.in_line += 1;
        Some(ticket)
    }

    /// Forgets the cap if no call of the tool runs or waits.
    pub(super) fn tidy(&mut self, key: &CapKey) {
        if let CapKey::Tool(name) = key
            && self.tools.get(name).is_some_and(|cap| cap.running == 0 && cap.line.is_empty())
        {
            self.tools.remove(name);
        }
    }

    /// The cap that `key` names.
    pub(super) fn cap(&mut self, key: &CapKey) -> Option<&mut Cap> {
        match key {
            CapKey::Tool(name) => self.tools.get_mut(name),
            CapKey::Shared(index) => self.shared.get_mut(*index),
        }
    }

    /// Whether no call of a capped tool runs or waits.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.tools.is_empty() && self.shared.iter().all(|cap| cap.running == 0 && cap.line.is_empty())
    }

    /// The first entry whose name means `tool`.
    fn entry(&self, tool: &str) -> Option<usize> {
        self.rules.iter().position(|(pattern, _)| pattern.matches(tool))
    }

    /// The cap that calls of `tool` count against, made if need be.
    fn key(&mut self, tool: &str) -> Option<CapKey> {
        if self.rules.is_empty() {
            return None;
        }
        if let Some((name, _)) = self.tools.get_key_value(tool) {
            return Some(CapKey::Tool(Arc::clone(name)));
        }
        let index = self.entry(tool)?;
        let most = self.rules.get(index)?.1?;
        if self.tools.len() >= TOOLS_MAX {
            return Some(CapKey::Shared(index));
        }
        let name: Arc<str> = tool.into();
        self.tools.insert(Arc::clone(&name), Cap::of(most));
        Some(CapKey::Tool(name))
    }
}

impl Cap {
    fn of(most: u32) -> Self {
        Self { most, ..Self::default() }
    }

    /// Puts `ticket` of `client` in line for one of the places.
    pub(super) fn join(&mut self, client: &Client, ticket: Ticket, now: Instant) {
        if self.waiting == 0 {
            self.drain.wanted(now);
        }
        self.line.join(client, ticket);
        self.waiting += 1;
    }

    /// Takes `ticket` of `client` out of it.
    pub(super) fn leave(&mut self, client: &Client, ticket: Ticket) {
        self.line.leave(client, ticket);
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// When one more who waits may have a place.
    pub(super) fn retry_after(&self, unknown: Duration, now: Instant) -> Duration {
        self.drain.time_for(usize::try_from(self.waiting).unwrap_or(usize::MAX) + 1, self.most, unknown, now)
    }

    fn has_place(&self) -> bool {
        self.running < self.most && self.line.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::{MS, cap};

    #[test]
    fn each_tool_that_a_pattern_means_has_its_own_places() {
        let mut caps = ToolCaps::new(&[cap("report_*", 1)]);
        assert!(matches!(caps.take(Some("report_a")), Taken::Place(_)));
        assert!(matches!(caps.take(Some("report_b")), Taken::Place(_)));
        assert!(matches!(caps.take(Some("report_a")), Taken::Full(_)));
        assert_eq!(caps.take(Some("other")), Taken::Uncapped);
        assert_eq!(caps.take(None), Taken::Uncapped);
        let lacks = [Some("report_a"), Some("report_c"), Some("other"), None].map(|tool| caps.is_all_that_lacks(tool));
        assert_eq!(lacks, [true, false, false, false]);
    }

    #[test]
    fn the_first_entry_that_matches_counts_even_if_it_has_no_cap() {
        let mut caps = ToolCaps::new(&[cap("report_fast", 0), cap("report_*", 1)]);
        assert_eq!(caps.take(Some("report_fast")), Taken::Uncapped);
        assert!(matches!(caps.take(Some("report_slow")), Taken::Place(_)));
    }

    #[test]
    fn names_beyond_the_bound_share_the_cap_of_their_pattern() {
        let mut caps = ToolCaps::new(&[cap("*", 1)]);
        for number in 0..TOOLS_MAX {
            assert!(matches!(caps.take(Some(&format!("t{number}"))), Taken::Place(CapKey::Tool(_))));
        }
        assert!(!caps.is_all_that_lacks(Some("one_more")));
        assert_eq!(caps.take(Some("one_more")), Taken::Place(CapKey::Shared(0)));
        assert!(caps.is_all_that_lacks(Some("and_another")));
        caps.cap(&CapKey::Shared(0)).unwrap().in_line += 1;
        assert!(!caps.is_all_that_lacks(Some("and_another")), "it is the node that lacks places");
        assert_eq!(caps.take(Some("and_another")), Taken::Full(CapKey::Shared(0)));
        assert_eq!(caps.tools.len(), TOOLS_MAX);
    }

    #[test]
    fn how_long_its_calls_run_says_how_fast_its_places_come_free() {
        let (mut caps, start) = (ToolCaps::new(&[cap("*", 1)]), crate::queue::testing::start());
        let Taken::Place(key) = caps.take(Some("a")) else { panic!("no place") };
        let client = Client::of(&crate::queue::testing::call("tools/call"));
        (0..2).for_each(|number| caps.cap(&key).unwrap().join(&client, Ticket(number), start));
        caps.give_back(&key, Some(start), start + 10 * MS);
        assert_eq!(caps.take_from_line(&key), Some(Ticket(0)));
        let cap = caps.cap(&key).unwrap();
        assert_eq!((cap.waiting, cap.retry_after(7 * MS, start + 10 * MS)), (1, 20 * MS));
    }

    #[test]
    fn a_tool_that_neither_runs_nor_waits_is_forgotten() {
        let mut caps = ToolCaps::new(&[cap("*", 1)]);
        let Taken::Place(key) = caps.take(Some("a")) else { panic!("no place") };
        caps.tidy(&key);
        assert_eq!(caps.tools.len(), 1);
        caps.give_back(&key, None, crate::queue::testing::start());
        caps.tidy(&key);
        assert!(caps.tools.is_empty());
    }
}
