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

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENTS: [Client; 2] =
        [Client::Unknown, Client::Address(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST))];

    /// So many places for each of two clients.
    fn held(counts: [u64; 2]) -> Holdings {
        let mut holdings = Holdings::default();
        for (client, (count, from)) in CLIENTS.iter().zip(counts.into_iter().zip([0, 100])) {
            (from..from + count).for_each(|number| holdings.hold(client, (Priority::Work, Ticket(number))));
        }
        holdings
    }

    #[test]
    fn a_client_gets_a_place_of_another_only_if_it_then_still_holds_fewer() {
        let [few, many] = &CLIENTS;
        assert_eq!(held([1, 3]).gives_way_to(few, Priority::Work), Some(Ticket(102)));
        assert_eq!(held([2, 3]).gives_way_to(few, Priority::Work), None, "both would hold three");
        assert_eq!(held([1, 3]).gives_way_to(many, Priority::Work), None);
        assert_eq!(held([2, 3]).gives_way_to(few, Priority::Read), Some(Ticket(102)));
    }

    #[test]
    fn what_is_let_go_of_counts_no_more() {
        let mut holdings = held([2, 2]);
        holdings.let_go(&CLIENTS[1], (Priority::Work, Ticket(101)));
        holdings.let_go(&CLIENTS[1], (Priority::Work, Ticket(101)));
        assert_eq!((holdings.len(), holdings.gives_way_to(&CLIENTS[1], Priority::Read)), (3, Some(Ticket(1))));
        holdings.let_go(&CLIENTS[1], (Priority::Work, Ticket(100)));
        assert!(!holdings.clients.contains_key(&CLIENTS[1]) && holdings.by_places.len() == 1);
    }
}
