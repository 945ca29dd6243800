//! Keeps a kind of log line from drowning all others.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcp_guard::middleware::clock;
use metrics::counter;
use tracing::callsite::Identifier;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Lines of one kind in a second; the rest is dropped, and counted.
pub(super) const LINES_MAX: u32 = 100;

const WINDOW: Duration = Duration::from_secs(1);

/// Lets so many lines of each kind through, wherever they go. A kind is a place in the program, so that there are few.
#[derive(Debug, Default)]
pub(super) struct Flood(Mutex<HashMap<Identifier, Window>>);

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    lines: u32,
}

impl Flood {
    fn admits(&self, kind: Identifier, now: Instant) -> bool {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(kind).or_insert(Window { began: now, lines: 0 });
        if now.saturating_duration_since(window.began) >= WINDOW {
            *window = Window { began: now, lines: 0 };
        }
        window.lines = window.lines.saturating_add(1);
        window.lines <= LINES_MAX
    }
}

impl<S: Subscriber> Layer<S> for Flood {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let admits = self.admits(event.metadata().callsite(), clock::now());
        if !admits {
            counter!("mcp_guard_log_lines_dropped_total", "reason" => "rate").increment(1);
        }
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_so_many_lines_a_second_and_no_other_suffers() {
        let (flood, now) = (Flood::default(), clock::now());
        let kinds = [
            tracing::callsite!(name: "one", kind: tracing::metadata::Kind::EVENT, fields: a),
            tracing::callsite!(name: "other", kind: tracing::metadata::Kind::EVENT, fields: a),
        ];
        let [one, other] = kinds.map(|kind| tracing::Callsite::metadata(kind).callsite());
        assert_eq!((0..500).filter(|_| flood.admits(one.clone(), now)).count(), 100);
        assert!(!flood.admits(one.clone(), now + Duration::from_millis(999)));
        assert!(flood.admits(other, now + Duration::from_millis(999)));
        assert!(flood.admits(one, now + WINDOW));
    }
}
