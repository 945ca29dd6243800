//! The three states and the one function between them.

use std::time::{Duration, Instant};

/// What a breaker does with calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// Calls pass and are counted.
    #[doc(alias = "closed")]
    Passing,
    /// Calls are refused.
    #[doc(alias = "open")]
    Tripped { until: Instant },
    /// One call at a time passes, to see whether the others would.
    #[doc(alias = "half-open")]
    Probing { successes: u32, place: Place },
}

/// The one place for a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// Nobody has had it since then.
    Free { since: Instant },
    /// A probe has been out since then.
    Taken { since: Instant },
}

/// What can happen to a breaker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// Too many of the calls that passed failed.
    FailedTooOften { open: Duration },
    /// A call came when the open time was over.
    OpenTimeOver,
    /// A probe was sent.
    ProbeSent,
    /// It succeeded; `needed` in a row are enough.
    ProbeSucceeded { needed: u32 },
    /// It failed.
    ProbeFailed { open: Duration },
    /// It was cancelled, refused further in, or is overdue: nothing was learned.
    ProbeGone,
}

impl State {
    /// The state after `event`. An event that makes no sense in a state changes nothing.
    pub(super) fn after(self, event: Event, now: Instant) -> Self {
        match self {
            // Leads to Tripped.
            Self::Passing => match event {
                Event::FailedTooOften { open } => Self::Tripped { until: now + open },
                Event::OpenTimeOver
                | Event::ProbeSent
                | Event::ProbeSucceeded { .. }
                | Event::ProbeFailed { .. }
                | Event::ProbeGone => self,
            },
            // Leads to Probing. The place counts as free from the promised instant on, whenever the first call comes.
            Self::Tripped { until } => match event {
                Event::OpenTimeOver => Self::Probing { successes: 0, place: Place::Free { since: until } },
                Event::FailedTooOften { .. }
                | Event::ProbeSent
                | Event::ProbeSucceeded { .. }
                | Event::ProbeFailed { .. }
                | Event::ProbeGone => self,
            },
            // Stays Probing with the place taken.
            Self::Probing { successes, place: Place::Free { .. } } => match event {
                Event::ProbeSent => Self::Probing { successes, place: Place::Taken { since: now } },
                Event::FailedTooOften { .. }
                | Event::OpenTimeOver
                | Event::ProbeSucceeded { .. }
                | Event::ProbeFailed { .. }
                | Event::ProbeGone => self,
            },
            // Leads to Passing, to Tripped, or back to Probing with the place free.
            Self::Probing { successes, place: Place::Taken { .. } } => match event {
                Event::ProbeSucceeded { needed } if successes.saturating_add(1) >= needed => Self::Passing,
                Event::ProbeSucceeded { .. } => {
                    Self::Probing { successes: successes.saturating_add(1), place: Place::Free { since: now } }
                }
                Event::ProbeFailed { open } => Self::Tripped { until: now + open },
                Event::ProbeGone => Self::Probing { successes, place: Place::Free { since: now } },
                Event::FailedTooOften { .. } | Event::OpenTimeOver | Event::ProbeSent => self,
            },
        }
    }

    /// The state without its details.
    pub(super) fn phase(self) -> Phase {
        match self {
            Self::Passing => Phase::Passing,
            Self::Tripped { .. } => Phase::Tripped,
            Self::Probing { .. } => Phase::Probing,
        }
    }
}

/// What a breaker does with calls, as people and metrics see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the three states that there are")]
pub enum Phase {
    /// They pass. Elsewhere: closed.
    Passing,
    /// One at a time passes. Elsewhere: half-open.
    Probing,
    /// They are refused. Elsewhere: open.
    Tripped,
}

impl Phase {
    /// The value of `mcp_guard_breaker_state`: 0 passing, 1 probing, 2 tripped.
    pub const fn gauge(self) -> f64 {
        match self {
            Self::Passing => 0.0,
            Self::Probing => 1.0,
            Self::Tripped => 2.0,
        }
    }

    /// The word for logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Probing => "probing",
            Self::Tripped => "tripped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Duration = Duration::from_secs(30);

    fn show(state: State, start: Instant) -> String {
        let at = |instant: Instant| (instant - start).as_secs();
        match state {
            State::Passing => "Passing".into(),
            State::Tripped { until } => format!("Tripped until {}", at(until)),
            State::Probing { successes, place: Place::Free { since } } => {
                format!("Probing {successes} free {}", at(since))
            }
            State::Probing { successes, place: Place::Taken { since } } => {
                format!("Probing {successes} taken {}", at(since))
            }
        }
    }

    #[test]
    fn metrics_and_logs_tell_each_phase_apart() {
        let told = [Phase::Passing, Phase::Probing, Phase::Tripped].map(|phase| (phase.gauge(), phase.as_str()));
        assert_eq!(told, [(0.0, "passing"), (1.0, "probing"), (2.0, "tripped")]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do as the start")]
    fn the_whole_table() {
        let start = Instant::now();
        let (earlier, now) = (start + Duration::from_secs(1), start + Duration::from_secs(5));
        let states = [
            State::Passing,
            State::Tripped { until: earlier },
            State::Probing { successes: 0, place: Place::Free { since: earlier } },
            State::Probing { successes: 0, place: Place::Taken { since: earlier } },
            State::Probing { successes: 1, place: Place::Taken { since: earlier } },
        ];
        let events = [
            Event::FailedTooOften { open: OPEN },
            Event::OpenTimeOver,
            Event::ProbeSent,
            Event::ProbeSucceeded { needed: 2 },
            Event::ProbeFailed { open: OPEN },
            Event::ProbeGone,
        ];
        let mut table = String::new();
        for state in states {
            table += &format!("{} at 5s\n", show(state, start));
            for event in events {
                let name = format!("{event:?}");
                let name = name.split(' ').next().unwrap_or_default();
                let after = state.after(event, now);
                let after = if after == state { "-".into() } else { show(after, start) };
                table += &format!("  {name:<15} {after}\n");
            }
        }
        insta::assert_snapshot!(table);
    }
}
