//! Which connections are let in: caps over all, for each client, and for those that are turned away.

use std::collections::HashMap;
use std::net::IpAddr;
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
    max: usize,
    per_client_max: usize,
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
        Self { counts: Arc::default(), turned_away, drain, max, per_client_max }
    }

    /// Whether and when these connections end.
    pub(crate) fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Finds a place for a connection from `client`, and counts it if there is none.
    pub(crate) fn place(&self, client: IpAddr) -> Place {
        let reason = if self.drain.is_draining() {
            Reason::Draining
        } else if let Some(admission) = self.admit(client) {
            return Place::Served(admission);
        } else {
            Reason::TooManyConnections
        };
        counter!("mcp_guard_refusals_total", "reason" => reason.as_str()).increment(1);
        match Arc::clone(&self.turned_away).try_acquire_owned() {
            Ok(permit) => Place::TurnedAway(reason, permit),
            Err(_) => Place::Closed,
        }
    }

    fn admit(&self, client: IpAddr) -> Option<Admission> {
        let client = network(client);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that two cores do not share the last place.
        if self.drain.connections() >= self.max {
            return None;
        }
        let count = counts.entry(client).or_default();
        if *count >= self.per_client_max {
            return None;
        }
        *count += 1;
        gauge!("mcp_guard_connections").increment(1.0);
        Some(Admission { connections: self.clone(), client, _ticket: self.drain.connection() })
    }
}

/// A connection that was let in.
#[derive(Debug)]
pub(crate) struct Admission {
    connections: Connections,
    client: IpAddr,
    _ticket: Ticket,
}

impl Drop for Admission {
    fn drop(&mut self) {
        gauge!("mcp_guard_connections").decrement(1.0);
        let mut counts = self.connections.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
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
        let served = connections.place(CLIENT);
        assert!(matches!(served, Place::Served(_)));
        let away: Vec<_> = (0..TURNED_AWAY_MAX).map(|_| connections.place(CLIENT)).collect();
        assert!(away.iter().all(|place| matches!(place, Place::TurnedAway(Reason::TooManyConnections, _))));
        assert!(matches!(connections.place(CLIENT), Place::Closed));
        drop((served, away));
        assert!(matches!(connections.place(CLIENT), Place::Served(_)));
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let connections = Connections::new(Drain::default(), 10, 1);
        let place = |address: &str| connections.place(address.parse().unwrap());
        let held = place("2001:db8::1");
        assert!(matches!(held, Place::Served(_)));
        assert!(matches!(place("2001:db8::ffff:1"), Place::TurnedAway(..)));
        assert!(matches!(place("2001:db8:0:1::1"), Place::Served(_)));
        drop(held);
        assert!(matches!(place("2001:db8::ffff:1"), Place::Served(_)));
    }

    #[test]
    fn what_is_turned_away_does_not_hold_up_the_drain() {
        let drain = Drain::default();
        drain.begin();
        let connections = Connections::new(drain.clone(), 1, 1);
        let away = connections.place(CLIENT);
        assert!(matches!(away, Place::TurnedAway(Reason::Draining, _)));
        assert_eq!(drain.connections(), 0);
    }
}
