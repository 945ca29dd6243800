//! The waiting room: who is in it, and who has to give way when it is full.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::class::{Client, Priority};
use super::line::{Line, Ticket};
use super::tool_caps::CapKey;

/// One call that waits. `W` is whatever wakes it.
#[derive(Debug)]
pub(super) struct Waiter<W> {
    pub(super) client: Client,
    pub(super) priority: Priority,
    /// The cap of its tool, if it has one.
    pub(super) cap: Option<CapKey>,
    pub(super) stage: Stage,
    /// When it is refused, if it has no place by then.
    pub(super) deadline: Instant,
    pub(super) wake: W,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// A place at its tool. It stands in the line of the tool's cap and holds up nobody else.
    Tool,
    /// A place on the node. It has its tool's place already, where the tool has a cap.
    Node,
}

/// All who wait, and the lines for the node, one per priority.
///
/// When the room is full, a newcomer gets the place of the newest waiter of the lowest class of the client that holds
/// most places, if the newcomer is of a higher class, or of the same class from a client that would still hold fewer
/// places (as a fair queue drops from its longest flow: RFC 8290, section 4.1). Otherwise the newcomer is refused.
#[derive(Debug)]
pub(super) struct WaitingRoom<W> {
    waiters: BTreeMap<Ticket, Waiter<W>>,
    lines: [(Priority, Line); 3],
    holdings: BTreeMap<Client, BTreeSet<(Priority, Ticket)>>,
    by_places: BTreeSet<(usize, Client)>,
    ticket_next: u64,
}

impl<W> Default for WaitingRoom<W> {
    fn default() -> Self {
        Self {
            waiters: BTreeMap::new(),
            lines: Priority::ALL.map(|priority| (priority, Line::default())),
            holdings: BTreeMap::new(),
            by_places: BTreeSet::new(),
            ticket_next: 0,
        }
    }
}

impl<W> WaitingRoom<W> {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Whether nobody waits for a place on the node.
    pub(super) fn nobody_waits_for_the_node(&self) -> bool {
        self.lines.iter().all(|(_, line)| line.is_empty())
    }

    /// Lets `waiter` in; one at [`Stage::Node`] gets in line.
    pub(super) fn enter(&mut self, waiter: Waiter<W>) -> Ticket {
        let ticket = Ticket(self.ticket_next);
        self.ticket_next += 1;
        if waiter.stage == Stage::Node {
            self.line(waiter.priority).join(&waiter.client, ticket);
        }
        self.hold(&waiter.client, (waiter.priority, ticket));
        self.waiters.insert(ticket, waiter);
        ticket
    }

    /// Takes `ticket` out of the room and of the line for the node.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiter<W>> {
        let waiter = self.waiters.remove(&ticket)?;
        if waiter.stage == Stage::Node {
            self.line(waiter.priority).leave(&waiter.client, ticket);
        }
        self.let_go(&waiter.client, (waiter.priority, ticket));
        Some(waiter)
    }

    /// Takes out who is next for a place on the node.
    pub(super) fn next(&mut self) -> Option<Waiter<W>> {
        let ticket = self.lines.iter_mut().find_map(|(_, line)| line.pop())?;
        self.remove(ticket)
    }

    /// Puts one who got its tool's place in line for the node.
    pub(super) fn advance(&mut self, ticket: Ticket) {
        let Some(waiter) = self.waiters.get_mut(&ticket) else { return };
        waiter.stage = Stage::Node;
        let (priority, client) = (waiter.priority, waiter.client.clone());
        self.line(priority).join(&client, ticket);
    }

    /// When `ticket` is to be refused, if it still waits.
    pub(super) fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        self.waiters.get(&ticket).map(|waiter| waiter.deadline)
    }

    /// Who would have to give way to a newcomer.
    pub(super) fn gives_way_to(&self, client: &Client, priority: Priority) -> Option<Ticket> {
        let (places, heaviest) = self.by_places.last()?;
        let (lowest, newest) = *self.holdings.get(heaviest)?.last()?;
        let holds = self.holdings.get(client).map_or(0, BTreeSet::len);
        (priority < lowest || priority == lowest && holds + 1 < *places).then_some(newest)
    }

    fn line(&mut self, priority: Priority) -> &mut Line {
        let [(_, control), (_, read), (_, work)] = &mut self.lines;
        match priority {
            Priority::Control => control,
            Priority::Read => read,
            Priority::Work => work,
        }
    }

    fn hold(&mut self, client: &Client, place: (Priority, Ticket)) {
        let places = self.holdings.entry(client.clone()).or_default();
        self.by_places.remove(&(places.len(), client.clone()));
        places.insert(place);
        self.by_places.insert((places.len(), client.clone()));
    }

    fn let_go(&mut self, client: &Client, place: (Priority, Ticket)) {
        let Some(places) = self.holdings.get_mut(client) else { return };
        self.by_places.remove(&(places.len(), client.clone()));
        places.remove(&place);
        if places.is_empty() {
            self.holdings.remove(client);
        } else {
            self.by_places.insert((places.len(), client.clone()));
        }
    }
}
