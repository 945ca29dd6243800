//! Which connections are let in: caps over all, for each client, and for those that are turned away.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use mcp_guard::rate_limit::network;
use mcp_guard::refusal::Reason;
use metrics::{counter, gauge};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::drain::{Drain, Ticket};

/// How many connections there may be, counted over all listeners and cores.
#[derive(Clone, Debug)]
pub struct Connections {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    turned_away: Arc<Semaphore>,
    drain: Drain,
    max: Arc<AtomicUsize>,
    per_client_max: Arc<AtomicUsize>,
}

/// What becomes of a connection.
#[derive(Debug)]
pub(crate) enum Place {
    /// It is served.
    Served(Admission),
    /// It gets one answer that says why not.
    TurnedAway(Reason, OwnedSemaphorePermit),
    /// It is closed unanswered: too many are being turned away.
    Closed,
}

/// Connections that are being turned away at once. Each takes a second at most, so that a flood of them holds no more
/// than this; the next are closed without an answer.
pub(crate) const TURNED_AWAY_MAX: usize = 64;

impl Connections {
    /// At most `max` connections, `per_client_max` of one client, which is who it is for rate limits: an IPv4 address, or an
    /// IPv6 network. The table of clients is bounded by `max` too.
    pub fn new(drain: Drain, max: usize, per_client_max: usize) -> Self {
        let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
        let [max, per_client_max] = [max, per_client_max].map(|max| Arc::new(AtomicUsize::new(max)));
        Self { counts: Arc::default(), turned_away, drain, max, per_client_max }
    }

    /// Other caps for those that come. Nobody who is there has to go.
    pub fn set_caps(&self, max: usize, per_client_max: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.per_client_max.store(per_client_max, Ordering::Relaxed);
    }

    /// Whether and when these connections end.
    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Finds a place for a connection from `client`, and counts it if there is none. Whose connection it is may be unknown
    /// yet: [`Connections::name`].
    pub(crate) fn place(&self, client: Option<IpAddr>) -> Place {
        if self.drain.is_draining() {
            return self.turn_away(Reason::Draining);
        }
        self.admit(client).map_or_else(|| self.turn_away(Reason::TooManyConnections), Place::Served)
    }

    /// Finds a place for a connection that is there already, now that it is known to be from `client`.
    pub(crate) fn name(&self, mut unnamed: Admission, client: IpAddr) -> Place {
        let client = network(client);
        if !self.count(client) {
            return self.turn_away(Reason::TooManyConnections);
        }
        unnamed.client = Some(client);
        Place::Served(unnamed)
    }

    /// Counts a connection of `client`, if it may have one more.
    fn count(&self, client: IpAddr) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        let has_place = *count < self.per_client_max.load(Ordering::Relaxed);
        *count += usize::from(has_place);
        has_place
    }

    fn turn_away(&self, reason: Reason) -> Place {
        counter!("mcp_guard_refusals_total", "reason" => reason.as_str()).increment(1);
        match Arc::clone(&self.turned_away).try_acquire_owned() {
            Ok(permit) => Place::TurnedAway(reason, permit),
            Err(_) => Place::Closed,
        }
    }

    fn admit(&self, client: Option<IpAddr>) -> Option<Admission> {
        let ticket = self.drain.connection_below(self.max.load(Ordering::Relaxed))?;
        let client = client.map(network);
        if client.is_some_and(|client| !self.count(client)) {
            return None;
        }
        gauge!("mcp_guard_connections").increment(1.0);
        Some(Admission { connections: self.clone(), client, _ticket: ticket })
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Admission {
    connections: Connections,
    client: Option<IpAddr>,
    _ticket: Ticket,
}

impl Drop for Admission {
    fn drop(&mut self) {
        gauge!("mcp_guard_connections").decrement(1.0);
        let Some(client) = self.client else { return };
        let mut counts = self.connections.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn over_the_cap_some_are_answered_and_the_rest_is_closed() {
        let connections = Connections::new(Drain::default(), 1, 1);
        let served = connections.place(Some(CLIENT));
        assert!(matches!(served, Place::Served(_)));
        let away: Vec<_> = (0..TURNED_AWAY_MAX).map(|_| connections.place(Some(CLIENT))).collect();
        assert!(away.iter().all(|place| matches!(place, Place::TurnedAway(Reason::TooManyConnections, _))));
        assert!(matches!(connections.place(Some(CLIENT)), Place::Closed));
        drop((served, away));
        assert!(matches!(connections.place(Some(CLIENT)), Place::Served(_)));
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let connections = Connections::new(Drain::default(), 10, 1);
        let place = |address: &str| connections.place(Some(address.parse().unwrap()));
        let held = place("2001:db8::1");
        assert!(matches!(held, Place::Served(_)));
        assert!(matches!(place("2001:db8::ffff:1"), Place::TurnedAway(..)));
        assert!(matches!(place("2001:db8:0:1::1"), Place::Served(_)));
        drop(held);
        assert!(matches!(place("2001:db8::ffff:1"), Place::Served(_)));
    }

    #[test]
    fn whose_connection_it_is_may_be_told_later() {
        let connections = Connections::new(Drain::default(), 2, 1);
        let unnamed = || match connections.place(None) {
            Place::Served(admission) => admission,
            Place::TurnedAway(..) | Place::Closed => panic!("there is a place"),
        };
        let (one, other) = (unnamed(), unnamed());
        assert!(matches!(connections.place(None), Place::TurnedAway(..)));
        let named = connections.name(one, CLIENT);
        assert!(matches!(named, Place::Served(_)));
        assert!(matches!(connections.name(other, CLIENT), Place::TurnedAway(Reason::TooManyConnections, _)));
        drop(named);
        assert!(matches!(connections.place(Some(CLIENT)), Place::Served(_)));
    }

    #[test]
    fn what_is_turned_away_does_not_hold_up_the_drain() {
        let drain = Drain::default();
        drain.begin();
        let connections = Connections::new(drain.clone(), 1, 1);
        let away = connections.place(Some(CLIENT));
        assert!(matches!(away, Place::TurnedAway(Reason::Draining, _)));
        assert_eq!(drain.connections(), 0);
    }
}
