//! The waiting room: who is in it, and who has to give way when it is full.

use std::collections::BTreeMap;
use std::time::Instant;

use super::class::{Client, Priority};
use super::holdings::Holdings;
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
#[derive(Debug)]
pub(super) struct WaitingRoom<W> {
    waiters: BTreeMap<Ticket, Waiter<W>>,
    lines: [(Priority, Line); 3],
    /// Who holds the places of the room.
    places: Holdings,
    /// Who holds those in line for the node.
    in_line: Holdings,
    ticket_next: u64,
}

impl<W> Default for WaitingRoom<W> {
    fn default() -> Self {
        Self {
            waiters: BTreeMap::new(),
            lines: Priority::ALL.map(|priority| (priority, Line::default())),
            places: Holdings::default(),
            in_line: Holdings::default(),
            ticket_next: 0,
        }
    }
}

impl<W> WaitingRoom<W> {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// The places of the room.
    pub(super) fn places(&self) -> &Holdings {
        &self.places
    }

    /// The places in line for the node.
    pub(super) fn in_line(&self) -> &Holdings {
        &self.in_line
    }

    /// Whether nobody waits for a place on the node.
    pub(super) fn nobody_waits_for_the_node(&self) -> bool {
        self.in_line.len() == 0
    }

    /// Lets `waiter` in; one at [`Stage::Node`] gets in line.
    pub(super) fn enter(&mut self, waiter: Waiter<W>) -> Ticket {
        let ticket = Ticket(self.ticket_next);
        self.ticket_next += 1;
        self.places.hold(&waiter.client, (waiter.priority, ticket));
        if waiter.stage == Stage::Node {
            self.get_in_line(&waiter.client, waiter.priority, ticket);
        }
        self.waiters.insert(ticket, waiter);
        ticket
    }

    /// Takes `ticket` out of the room and of the line for the node.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiter<W>> {
        let waiter = self.waiters.remove(&ticket)?;
        if waiter.stage == Stage::Node {
            self.line(waiter.priority).leave(&waiter.client, ticket);
            self.in_line.let_go(&waiter.client, (waiter.priority, ticket));
        }
        self.places.let_go(&waiter.client, (waiter.priority, ticket));
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
        self.get_in_line(&client, priority, ticket);
    }

    /// When `ticket` is to be refused, if it still waits.
    pub(super) fn deadline(&self, ticket: Ticket) -> Option<Instant> {
        self.waiters.get(&ticket).map(|waiter| waiter.deadline)
    }

    fn get_in_line(&mut self, client: &Client, priority: Priority, ticket: Ticket) {
        self.line(priority).join(client, ticket);
        self.in_line.hold(client, (priority, ticket));
    }

    fn line(&mut self, priority: Priority) -> &mut Line {
        let [(_, control), (_, read), (_, work)] = &mut self.lines;
        match priority {
            Priority::Control => control,
            Priority::Read => read,
            Priority::Work => work,
        }
    }
}
