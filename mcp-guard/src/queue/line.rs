//! One line of waiters in which clients take turns.

use std::collections::{BTreeMap, BTreeSet};

use super::class::Client;

/// Names a call that waits; a later one is larger.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Ticket(pub(super) u64);

/// Waiters of several clients: each client in turn, and within a client the one that came first.
///
/// Between two clients that both have someone waiting, neither is served more than once before the other is.
/// A client that comes new, or comes back, joins behind all others. Each operation takes O(log n) time; an empty line
/// holds no memory.
#[derive(Debug, Default)]
pub(super) struct Line {
    clients: BTreeMap<Client, Turn>,
    order: BTreeMap<u64, Client>,
    turn_next: u64,
}

#[derive(Debug)]
struct Turn {
    at: u64,
    tickets: BTreeSet<Ticket>,
}

impl Line {
    /// Puts `ticket` behind the others of `client`.
    pub(super) fn join(&mut self, client: &Client, ticket: Ticket) {
        if let Some(turn) = self.clients.get_mut(client) {
            turn.tickets.insert(ticket);
            return;
        }
        let at = self.take_turn(client.clone());
        self.clients.insert(client.clone(), Turn { at, tickets: BTreeSet::from([ticket]) });
    }

    /// Takes out who is next.
    pub(super) fn pop(&mut self) -> Option<Ticket> {
        let (_, client) = self.order.pop_first()?;
        let at = self.turn_next;
        let turn = self.clients.get_mut(&client)?;
        let ticket = turn.tickets.pop_first();
        if turn.tickets.is_empty() {
            self.clients.remove(&client);
        } else {
            turn.at = at;
            self.take_turn(client);
        }
        ticket
    }

    /// Takes out `ticket` of `client`, wherever it stands.
    pub(super) fn leave(&mut self, client: &Client, ticket: Ticket) {
        let Some(turn) = self.clients.get_mut(client) else { return };
        turn.tickets.remove(&ticket);
        if turn.tickets.is_empty() {
            self.order.remove(&turn.at);
            self.clients.remove(client);
        }
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    fn take_turn(&mut self, client: Client) -> u64 {
        let at = self.turn_next;
        self.turn_next += 1;
        self.order.insert(at, client);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str) -> Client {
        Client::Session(name.into())
    }

    fn drain(line: &mut Line) -> Vec<u64> {
        std::iter::from_fn(|| line.pop()).map(|ticket| ticket.0).collect()
    }

    #[test]
    fn clients_take_turns_and_each_is_served_in_order() {
        let mut line = Line::default();
        for (name, ticket) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)] {
            line.join(&client(name), Ticket(ticket));
        }
        assert_eq!(drain(&mut line), [1, 4, 5, 2, 6, 3]);
        assert!(line.is_empty());
    }

    #[test]
    fn who_leaves_is_not_served_and_costs_its_client_no_turn() {
        let mut line = Line::default();
        for (name, ticket) in [("a", 1), ("b", 2), ("a", 3), ("b", 4)] {
            line.join(&client(name), Ticket(ticket));
        }
        line.leave(&client("a"), Ticket(1));
        assert_eq!(drain(&mut line), [3, 2, 4]);
    }

    #[test]
    fn the_last_of_a_client_leaves_nothing_behind() {
        let mut line = Line::default();
        line.join(&client("a"), Ticket(1));
        line.leave(&client("a"), Ticket(1));
        line.leave(&client("a"), Ticket(1));
        assert!(line.is_empty() && line.order.is_empty());
    }

    #[test]
    fn a_client_that_comes_back_joins_behind_the_others() {
        let mut line = Line::default();
        line.join(&client("a"), Ticket(1));
        line.join(&client("b"), Ticket(2));
        assert_eq!(line.pop(), Some(Ticket(1)));
        line.join(&client("a"), Ticket(3));
        line.join(&client("b"), Ticket(4));
        assert_eq!(drain(&mut line), [2, 3, 4]);
    }
}
