//! What sessions have shown of the node's health, and for how long that holds.

use std::time::{Duration, Instant};

use super::service::Health;

/// The last that is known of the node.
#[derive(Debug)]
pub(super) struct Vitals {
    health: Health,
    noted_at: Option<Instant>,
    speaks_for: Duration,
}

impl Vitals {
    /// Nothing is known yet; what will be holds for `speaks_for`.
    pub(super) fn new(speaks_for: Duration) -> Self {
        Self { health: Health::Unknown, noted_at: None, speaks_for }
    }

    /// What is and will be known holds for so long.
    pub(super) fn set_speaks_for(&mut self, speaks_for: Duration) {
        self.speaks_for = speaks_for;
    }

    pub(super) fn note(&mut self, health: Health, now: Instant) {
        self.health = health;
        self.noted_at = Some(now);
    }

    /// What is known, however old.
    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// Whether a session has shown lately that the node is well.
    pub(super) fn are_fresh(&self, now: Instant) -> bool {
        let is_recent = self.noted_at.is_some_and(|at| now.saturating_duration_since(at) < self.speaks_for);
        self.health == Health::Alive && is_recent
    }
}

#[cfg(test)]
mod tests {
    use mcp_guard::middleware::clock;

    use super::*;

    #[test]
    fn an_answer_speaks_for_the_node_for_a_time_and_the_next_one_for_another() {
        let (start, second) = (clock::now(), Duration::from_secs(1));
        let mut vitals = Vitals::new(second * 60);
        assert!(!vitals.are_fresh(start));
        vitals.note(Health::Alive, start);
        assert!(vitals.are_fresh(start + second * 59) && !vitals.are_fresh(start + second * 60));
        vitals.note(Health::Alive, start + second * 59);
        assert!(vitals.are_fresh(start + second * 118) && !vitals.are_fresh(start + second * 119));
        assert_eq!(vitals.health(), Health::Alive, "until a probe has shown something else");
    }

    #[test]
    fn a_node_that_fails_is_probed_each_time() {
        let mut vitals = Vitals::new(Duration::from_secs(60));
        vitals.note(Health::Failing, clock::now());
        assert!(!vitals.are_fresh(clock::now()));
    }
}
