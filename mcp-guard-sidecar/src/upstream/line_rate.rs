//! What a node writes goes to the log at a bounded rate.

use std::time::{Duration, Instant};

/// Most lines of one session that are logged in a second; how many were left out is logged with the next.
const LINES_PER_SECOND: u32 = 50;

/// How many lines may be logged: so many in each second.
#[derive(Debug, Default)]
pub(crate) struct LineRate {
    second: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl LineRate {
    /// Whether to log a line, and then how many were left out before it.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.second.is_none_or(|second| second + Duration::from_secs(1) <= now) {
            self.second = Some(now);
            self.lines = 0;
        }
        if self.lines >= LINES_PER_SECOND {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use mcp_guard::middleware::clock;

    use super::*;

    #[test]
    fn lines_beyond_the_rate_are_counted() {
        let (mut rate, now) = (LineRate::default(), clock::now());
        assert!((0..LINES_PER_SECOND).all(|_| rate.admit(now) == Some(0)));
        assert_eq!(rate.admit(now), None);
        assert_eq!(rate.admit(now), None);
        assert_eq!(rate.admit(now + Duration::from_secs(1)), Some(2));
    }
}
