//! Which client holds how many places.

use std::collections::{BTreeMap, BTreeSet};

use super::class::{Client, Priority};
use super::line::Ticket;

/// Who holds the places of a room or a line, and who has to give one up to a newcomer when there are no more.
///
/// That is the newest waiter of the lowest class of the client that holds most places, if the newcomer is of a higher class, or
/// of the same class from a client that would still hold fewer places (as a fair queue drops from its longest flow: RFC 8290,
/// section 4.1). Otherwise the newcomer is refused.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    clients: BTreeMap<Client, BTreeSet<(Priority, Ticket)>>,
    by_places: BTreeSet<(usize, Client)>,
    held: usize,
}

impl Holdings {
    /// How many places are held.
    pub(super) fn len(&self) -> usize {
        self.held
    }

    /// `client` takes `place`.
    pub(super) fn hold(&mut self, client: &Client, place: (Priority, Ticket)) {
        let places = self.clients.entry(client.clone()).or_default();
        self.by_places.remove(&(places.len(), client.clone()));
        self.held += usize::from(places.insert(place));
        self.by_places.insert((places.len(), client.clone()));
    }

    /// `client` lets go of `place`, if it holds it.
    pub(super) fn let_go(&mut self, client: &Client, place: (Priority, Ticket)) {
        let Some(places) = self.clients.get_mut(client) else { return };
        self.by_places.remove(&(places.len(), client.clone()));
        self.held -= usize::from(places.remove(&place));
        if places.is_empty() {
            self.clients.remove(client);
        } else {
            self.by_places.insert((places.len(), client.clone()));
        }
    }

    /// Who would have to give way to a newcomer of `client`.
    pub(super) fn gives_way_to(&self, client: &Client, priority: Priority) -> Option<Ticket> {
        let (places, heaviest) = self.by_places.last()?;
        let (lowest, newest) = *self.clients.get(heaviest)?.last()?;
        let holds = self.clients.get(client).map_or(0, BTreeSet::len);
        (priority < lowest || priority == lowest && holds + 1 < *places).then_some(newest)
    }
}
