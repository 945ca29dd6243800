//! The end: readiness off, a lame-duck time if there is one, calls finish, streams end, connections close (invariant I12).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::told::Told;

/// How far the guard is on its way out. It only goes on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Phase {
    /// Not on its way.
    Serving,
    /// Not ready any more, but still serving whoever comes: the news takes time to reach all that send calls here.
    Leaving,
    /// New calls are turned away, those that were accepted finish.
    Draining,
}

/// Knows whether the guard drains, and how many connections are still open.
#[derive(Clone, Debug)]
pub struct Drain(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    phase: Told<Phase>,
    /// The same, for each request to read without a lock.
    is_leaving: AtomicBool,
    is_draining: AtomicBool,
    connections: Told<usize>,
    lame_duck: Mutex<Duration>,
}

impl Default for Drain {
    /// Without a lame-duck time.
    fn default() -> Self {
        Self::new(Duration::ZERO)
    }
}

impl Drain {
    /// Turns nobody away before `lame_duck` is over, counted from when it begins.
    pub fn new(lame_duck: Duration) -> Self {
        Self(Arc::new(Shared {
            phase: Told::new(Phase::Serving),
            is_leaving: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            connections: Told::new(0),
            lame_duck: Mutex::new(lame_duck),
        }))
    }

    /// Another lame-duck time, if the guard has not begun to leave yet.
    pub fn set_lame_duck(&self, lame_duck: Duration) {
        *self.0.lame_duck.lock().unwrap_or_else(PoisonError::into_inner) = lame_duck;
    }

    fn lame_duck(&self) -> Duration {
        *self.0.lame_duck.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to leave; without a lame-duck time, to drain at once. There is no way back.
    pub fn begin(&self) {
        self.advance(if self.lame_duck().is_zero() { Phase::Draining } else { Phase::Leaving });
    }

    /// Begins to leave without turning anybody away, which [`Drain::begin`] does later.
    pub fn leave(&self) {
        self.advance(Phase::Leaving);
    }

    /// Waits until the guard begins to leave, and then as long as it still serves everybody. After that it drains.
    pub async fn served_out(&self) {
        self.reached(Phase::Leaving).await;
        if !self.is_draining() {
            tokio::time::sleep(self.lame_duck()).await;
            self.advance(Phase::Draining);
        }
    }

    /// Whether the guard is not ready any more.
    pub fn is_leaving(&self) -> bool {
        self.0.is_leaving.load(Ordering::Relaxed)
    }

    /// Whether calls are turned away.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Relaxed)
    }

    /// Waits until the guard begins to leave.
    pub async fn begun(&self) {
        self.reached(Phase::Leaving).await;
    }

    /// Waits until calls are turned away.
    pub async fn turns_away(&self) {
        self.reached(Phase::Draining).await;
    }

    async fn reached(&self, phase: Phase) {
        self.0.phase.until(|reached| *reached >= phase).await;
    }

    fn advance(&self, phase: Phase) {
        self.0.phase.set_if(|reached| {
            let is_next = *reached < phase;
            *reached = phase.max(*reached);
            self.0.is_leaving.store(*reached >= Phase::Leaving, Ordering::Relaxed);
            self.0.is_draining.store(*reached == Phase::Draining, Ordering::Relaxed);
            is_next
        });
    }

    /// Counts a connection until the ticket is dropped.
    pub fn connection(&self) -> Ticket {
        self.0.connections.set_if(|open| {
            *open += 1;
            true
        });
        Ticket(self.clone())
    }

    /// The same, if fewer than `max` are open.
    pub fn connection_below(&self, max: usize) -> Option<Ticket> {
        let has_place = self.0.connections.set_if(|open| {
            let has_place = *open < max;
            *open += usize::from(has_place);
            has_place
        });
        has_place.then(|| Ticket(self.clone()))
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.0.connections.see(|open| *open)
    }

    /// Waits until no connection is open, at most `limit`; says whether that was reached.
    pub async fn finished(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.0.connections.until(|open| *open == 0)).await.is_ok()
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct Ticket(Drain);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.0.connections.set_if(|open| {
            *open = open.saturating_sub(1);
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn draining_ends_with_the_last_connection() {
        let drain = Drain::default();
        let ticket = drain.connection();
        drain.begin();
        drain.begun().await;
        assert!(!drain.finished(Duration::from_secs(1)).await);
        drop(ticket);
        assert!(drain.finished(Duration::from_secs(1)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_is_served_until_the_lame_duck_time_is_over() {
        let drain = Drain::new(Duration::from_secs(5));
        drain.begin();
        assert!(drain.is_leaving() && !drain.is_draining());
        let early = tokio::time::timeout(Duration::from_secs(4), drain.served_out()).await;
        assert!(early.is_err() && !drain.is_draining());
        drain.served_out().await;
        assert!(drain.is_draining());
        drain.begin();
        assert!(drain.is_draining(), "there is no way back");
    }
}
