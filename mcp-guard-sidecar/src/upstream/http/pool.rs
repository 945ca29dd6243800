//! Connections that are kept, and how many there may be.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::{Duration, Instant};

use mcp_guard::middleware::clock;

use super::connection::Connection;
use super::slots::{Slot, Slots, Waiting};

/// All pools of a node, and the places that they share.
#[derive(Debug)]
pub(super) struct Pools {
    pools: Mutex<Vec<Weak<Pool>>>,
    calls: Arc<Slots>,
    streams: Arc<Slots>,
    idle_timeout: Duration,
}

impl Pools {
    /// No pools yet, with `places` connections for calls and as many for streams that only listen.
    pub(super) fn new(places: usize, idle_timeout: Duration) -> Arc<Self> {
        let (calls, streams) = (Slots::new(places), Slots::new(places));
        Arc::new(Self { pools: Mutex::default(), calls, streams, idle_timeout })
    }

    /// A pool for one runtime. There are as many as the host makes: one for each listener and core.
    pub(super) fn add(self: &Arc<Self>) -> Arc<Pool> {
        let pool = Arc::new(Pool { pools: Arc::clone(self), idle: Mutex::default() });
        let mut pools = lock(&self.pools);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        pool
    }

    /// A place for a connection that serves calls. If none is free, a connection that nobody uses makes room.
    pub(super) fn place_for_call(&self) -> Option<Slot> {
        loop {
            if let Some(slot) = self.calls.take() {
                return Some(slot);
            }
            // Each round drops a connection, and idle ones are bounded by the places.
            self.drop_oldest_idle()?;
        }
    }

    /// Somebody who waits for a connection, or a place for one, that serves calls.
    pub(super) fn wait_for_call(&self) -> Waiting {
        self.calls.wait()
    }

    /// A place for a connection that serves a stream that only listens.
    pub(super) fn place_for_stream(&self) -> Option<Slot> {
        self.streams.take()
    }

    /// How many places for each there are.
    pub(super) fn places(&self) -> usize {
        self.calls.places()
    }

    /// Drops the connection that was idle longest, of whatever pool. `None` if there is no idle one.
    fn drop_oldest_idle(&self) -> Option<()> {
        let pools: Vec<Arc<Pool>> = lock(&self.pools).iter().filter_map(Weak::upgrade).collect();
        loop {
            let oldest = pools.iter().filter_map(|pool| Some((pool.oldest()?, pool))).min_by_key(|(since, _)| *since);
            // Its own runtime may have taken it meanwhile; then there may be another.
            if oldest?.1.drop_oldest() {
                return Some(());
            }
        }
    }
}

/// The idle connections of one runtime.
#[derive(Debug)]
pub(super) struct Pool {
    pools: Arc<Pools>,
    /// The last used last.
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// A kept connection that can be used `now`. Others are dropped on the way.
    pub(super) async fn take(&self, now: Instant) -> Option<Connection> {
        // Else a task that has read much would be told that nothing has come, and take a closed one for an open one.
        tokio::task::unconstrained(std::future::poll_fn(|cx| {
            let mut newest = self.newest(now);
            while newest.as_mut().is_some_and(|connection| !connection.is_open(cx)) {
                newest = self.newest(now);
            }
            Poll::Ready(newest)
        }))
        .await
    }

    /// Keeps a connection whose answer was read, if calls have a place for it.
    pub(super) fn give_back(&self, mut connection: Connection) {
        if !connection.slot.is_of(&self.pools.calls) {
            let Some(slot) = self.pools.calls.take() else { return };
            connection.slot = slot;
        }
        let now = clock::now();
        let mut idle = lock(&self.idle);
        // One that leaves for each that comes would do; those at the front are the oldest.
        while idle.front().is_some_and(|oldest| !self.is_usable(oldest, now)) {
            idle.pop_front();
        }
        idle.push_back(Idle { connection, since: now });
        drop(idle);
        self.pools.calls.tell();
    }

    /// The last used one of those that seem to be open.
    fn newest(&self, now: Instant) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        while let Some(newest) = idle.pop_back() {
            if self.is_usable(&newest, now) {
                return Some(newest.connection);
            }
        }
        None
    }

    fn is_usable(&self, idle: &Idle, now: Instant) -> bool {
        now.saturating_duration_since(idle.since) < self.pools.idle_timeout
    }

    fn oldest(&self) -> Option<Instant> {
        lock(&self.idle).front().map(|idle| idle.since)
    }

    fn drop_oldest(&self) -> bool {
        lock(&self.idle).pop_front().is_some()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        lock(&self.idle).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
