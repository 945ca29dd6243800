//! The end: readiness off, calls finish, streams end, connections close (invariant I12).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Knows whether the guard drains, and how many connections are still open.
#[derive(Clone, Debug)]
pub struct Drain {
    draining: Arc<watch::Sender<bool>>,
    connections: Arc<watch::Sender<usize>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { draining: Arc::new(watch::Sender::new(false)), connections: Arc::new(watch::Sender::new(0)) }
    }
}

impl Drain {
    /// Begins to drain. There is no way back.
    pub fn begin(&self) {
        self.draining.send_replace(true);
    }

    /// Whether the guard drains.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Waits until the guard drains.
    pub async fn begun(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Counts a connection until the ticket is dropped.
    pub fn connection(&self) -> Ticket {
        self.connections.send_modify(|open| *open += 1);
        Ticket(Arc::clone(&self.connections))
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        *self.connections.borrow()
    }

    /// Waits until no connection is open, at most `limit`; says whether that was reached.
    pub async fn finished(&self, limit: Duration) -> bool {
        let mut connections = self.connections.subscribe();
        let closed = connections.wait_for(|open| *open == 0);
        tokio::time::timeout(limit, closed).await.is_ok_and(|closed| closed.is_ok())
    }
}

/// A connection that is open.
#[derive(Debug)]
pub struct Ticket(Arc<watch::Sender<usize>>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open = open.saturating_sub(1));
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
}
