//! One breaker: counts, decides, and settles each call that it let through once.

use std::time::{Duration, Instant};

use failsafe::failure_policy::{ConsecutiveFailures, FailurePolicy, consecutive_failures};

use super::open_time::OpenTimes;
use super::policy::BreakerPolicy;
use super::state::{Event, Phase, Place, State};
use super::window::Window;
use crate::outcome::Verdict;

/// One breaker, of a node or of a tool.
///
/// failsafe's [`ConsecutiveFailures`] serves twice: `calls` counts failures in a row, `trips` hands out open times that grow until the
/// breaker has revived. Neither reads a clock. Its state machine does, lets every call through when half open, and records nothing for
/// a dropped future, so the states are ours.
#[derive(Debug)]
pub(super) struct Circuit {
    policy: BreakerPolicy,
    state: State,
    window: Window,
    calls: ConsecutiveFailures<OpenTimes>,
    trips: ConsecutiveFailures<OpenTimes>,
    /// When a call that is safe to repeat last came, let through or not.
    safe_seen: Option<Instant>,
    /// Changes with each state and each probe, so that a result is only counted in the state that it was begun in.
    serial: u64,
}

/// What a [`Circuit`] says to a call.
#[derive(Debug)]
#[must_use]
pub(super) enum Decision {
    /// Forward it, and settle the ticket.
    Admit(Ticket),
    /// Refuse it.
    Refuse {
        /// How long until it is worth asking again.
        retry_after: Duration,
    },
}

/// A call that was let through. Not `Clone`: it is settled once.
#[derive(Debug)]
#[must_use]
pub(super) struct Ticket {
    serial: u64,
    is_probe: bool,
}

impl Circuit {
    pub(super) fn new(policy: BreakerPolicy, now: Instant) -> Self {
        let open_times = OpenTimes::new(policy.open(), policy.open_max());
        Self {
            policy,
            state: State::Passing,
            window: Window::new(policy.window(), now),
            calls: consecutive_failures(policy.consecutive_failures().get(), open_times.clone()),
            trips: consecutive_failures(1, open_times),
            safe_seen: None,
            serial: 0,
        }
    }

    /// Goes on under another policy. Results are counted anew; what is tripped stays so, at most as long as may be now.
    pub(super) fn set_policy(&mut self, policy: BreakerPolicy, now: Instant) {
        let Self { state, safe_seen, serial, .. } = *self;
        let state = match state {
            State::Tripped { until } => State::Tripped { until: until.min(now + policy.open_max()) },
            State::Passing | State::Probing { .. } => state,
        };
        *self = Self { state, safe_seen, serial, ..Self::new(policy, now) };
    }

    /// Lets a call through, or says how long to wait; `is_safe` says whether it is safe to repeat.
    pub(super) fn admit(&mut self, is_safe: bool, now: Instant) -> Decision {
        if is_safe {
            self.safe_seen = Some(now);
        }
        self.keep_time(now);
        match self.state {
            State::Passing => Decision::Admit(Ticket { serial: self.serial, is_probe: false }),
            State::Tripped { until } => Decision::Refuse { retry_after: until - now },
            State::Probing { place: Place::Taken { since }, .. } => {
                Decision::Refuse { retry_after: ((since + self.probe_time()) - now).min(PROBE_WAIT_MAX) }
            }
            State::Probing { place: Place::Free { since }, .. } => match self.wait_of_unsafe(since, now) {
                Some(retry_after) if !is_safe => Decision::Refuse { retry_after },
                Some(_) | None => {
                    self.change(Event::ProbeSent, now);
                    Decision::Admit(Ticket { serial: self.serial, is_probe: true })
                }
            },
        }
    }

    /// Takes note of how a call ended.
    pub(super) fn settle(&mut self, ticket: Ticket, verdict: Verdict, now: Instant) {
        // Begun before the breaker tripped, revived, or gave the place to another probe: it says nothing about now.
        if ticket.serial != self.serial {
            return;
        }
        if ticket.is_probe {
            return self.settle_probe(verdict, now);
        }
        match verdict {
            Verdict::Success => {
                self.calls.record_success();
                self.window.record(false, now);
            }
            Verdict::Failure => {
                self.window.record(true, now);
                let too_many_in_row = self.calls.mark_dead_on_failure().is_some();
                if too_many_in_row || self.rate_is_reached(now) {
                    let open = self.next_open_time();
                    self.change(Event::FailedTooOften { open }, now);
                }
            }
            Verdict::Unknown => {}
        }
    }

    /// What it does with calls, as of the last one.
    pub(super) fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// Whether nothing is lost by forgetting it: calls pass, or nobody came for as long as it may stay tripped.
    pub(super) fn is_forgettable(&self, now: Instant) -> bool {
        let unused = |since: Instant| now.saturating_duration_since(since) >= self.policy.open_max();
        match self.state {
            State::Passing => true,
            State::Tripped { until } => unused(until),
            State::Probing { place: Place::Free { since }, .. } => unused(since),
            State::Probing { place: Place::Taken { .. }, .. } => false,
        }
    }

    /// Does what time alone does: ends the open time, and gives up on an overdue probe.
    fn keep_time(&mut self, now: Instant) {
        match self.state {
            State::Tripped { until } if until <= now => self.change(Event::OpenTimeOver, now),
            State::Probing { place: Place::Taken { since }, .. } if since + self.probe_time() <= now => {
                self.change(Event::ProbeGone, now);
            }
            State::Passing | State::Tripped { .. } | State::Probing { .. } => {}
        }
    }

    fn settle_probe(&mut self, verdict: Verdict, now: Instant) {
        let event = match verdict {
            Verdict::Success => Event::ProbeSucceeded { needed: self.policy.half_open_successes().get() },
            Verdict::Failure => Event::ProbeFailed { open: self.next_open_time() },
            Verdict::Unknown => Event::ProbeGone,
        };
        self.change(event, now);
        if self.state == State::Passing {
            self.calls.revived();
            self.trips.revived();
            self.window = Window::new(self.policy.window(), now);
        }
    }

    fn change(&mut self, event: Event, now: Instant) {
        self.state = self.state.after(event, now);
        self.serial += 1;
    }

    /// How long a call that is not safe to repeat leaves the free place to those that are.
    ///
    /// Not at all if none of those came within the window, and a quarter of the open time at most.
    fn wait_of_unsafe(&self, free_since: Instant, now: Instant) -> Option<Duration> {
        let safe_until = self.safe_seen? + self.policy.window();
        let until = safe_until.min(free_since + self.policy.open() / 4);
        until.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    fn rate_is_reached(&mut self, now: Instant) -> bool {
        let counts = self.window.counts(now);
        let minimum = u64::from(self.policy.minimum_calls().get());
        minimum <= counts.calls && self.policy.failure_rate() * counts.calls as f64 <= counts.failures as f64
    }

    fn next_open_time(&mut self) -> Duration {
        self.trips.mark_dead_on_failure().unwrap_or(self.policy.open())
    }

    /// How long a probe may keep the place: a node that hangs is not to keep the breaker from asking again.
    fn probe_time(&self) -> Duration {
        self.policy.open()
    }
}

/// The longest wait that a caller is told while a probe is out, which may end at any moment.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(1);
