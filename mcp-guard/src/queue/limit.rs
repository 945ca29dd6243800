//! How many calls a node bears at once, learned from how long they take.

use std::time::{Duration, Instant};

use super::policy::QueuePolicy;
use super::usual::UsualTimes;
use super::window::Window;
use crate::call::Call;
use crate::outcome::Outcome;

/// Answers this much slower than usual are still no sign of overload (Gradient2's `rttTolerance`).
const TOLERANCE: f64 = 1.5;

/// How far the limit goes at once towards where it should be (Gradient2's `smoothing`).
const SMOOTHING: f64 = 0.2;

/// The share of calls that may fail as if by overload before the limit stops growing.
const FAILING_TOLERATED: f64 = 0.01;

/// How one forwarded call ended, as far as the limit is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// It did what it was there for in this time.
    Answered(Duration),
    /// The node said that it has too much to do, or did not answer in time.
    Overloaded,
    /// Nothing can be said: errors are often fast, and a caller who leaves proves nothing.
    Unknown,
}

impl Ending {
    /// What `outcome` after `took` says.
    pub(super) fn of(outcome: Outcome, took: Duration) -> Self {
        match outcome {
            Outcome::Ok | Outcome::ToolError => Self::Answered(took),
            Outcome::HttpError(429 | 503 | 504) | Outcome::TimedOut => Self::Overloaded,
            Outcome::RpcError(_)
            | Outcome::ServerError(_)
            | Outcome::HttpError(_)
            | Outcome::HttpRefused(_)
            | Outcome::Unreachable
            | Outcome::Broken
            | Outcome::Replaced
            | Outcome::TooLarge
            | Outcome::Cancelled
            | Outcome::Refused => Self::Unknown,
        }
    }
}

/// The limit on calls in flight: fixed, or moving between two bounds.
///
/// The moving one is Gradient2 of Netflix's concurrency-limits: `limit · usual / actual time`, plus a head room of
/// `√limit`. It differs from Gradient2 in four things:
///
/// - Each class of calls is compared with its own usual time ([`UsualTimes`]), so a mix that shifts from pings to long
///   reports moves nothing.
/// - What is usual is learned from calls that run while less than half of the limit is used, or while the limit is at
///   its lower bound. A node that is overloaded for long is so not taken for a slow one.
/// - Failures by overload lower the limit by half of their share, as DCTCP does with marked packets (RFC 8257), not by a
///   fixed part for each.
/// - It starts at the lower bound and doubles in each window, as long as it is used and nothing speaks against it (slow
///   start of TCP, RFC 5681), so a node of slow tools is not throttled until their times are known.
///
/// A window in which less than half of the limit was used changes nothing.
#[derive(Debug)]
pub(super) struct Limit {
    least: f64,
    most: f64,
    current: f64,
    /// Still doubling.
    starting: bool,
    /// Answers came so much faster than usual that what is usual must be out of date.
    relearn: bool,
    adaptive: Option<Adaptive>,
}

#[derive(Debug, Default)]
struct Adaptive {
    window: Option<Window>,
    times: UsualTimes,
}

impl Limit {
    /// The limit that `policy` asks for, where it starts.
    pub(super) fn new(policy: &QueuePolicy) -> Self {
        let most = f64::from(policy.concurrency());
        let least = if policy.is_adaptive() { f64::from(policy.concurrency_min()) } else { most };
        let adaptive = (least < most).then(Adaptive::default);
        Self { least, most, current: least, starting: true, relearn: false, adaptive }
    }

    /// The limit that `policy` asks for, starting as near as may be to what was learned `before`.
    pub(super) fn succeeding(policy: &QueuePolicy, before: u32) -> Self {
        let limit = Self::new(policy);
        let current = f64::from(before).clamp(limit.least, limit.most);
        // What was learned is no beginning from which it would double.
        Self { current, starting: current <= limit.least, ..limit }
    }

    /// How many calls may be in flight now.
    pub(super) fn get(&self) -> u32 {
        whole(self.current)
    }

    /// Notes that `in_flight` calls run or want to, and moves the limit if it is time to.
    pub(super) fn turn(&mut self, in_flight: u32, now: Instant) {
        let Some(adaptive) = &mut self.adaptive else { return };
        let window = adaptive.window.get_or_insert_with(|| Window::open(in_flight, now));
        window.note(in_flight);
        if !window.is_over(self.starting, now) {
            return;
        }
        let seen = std::mem::replace(window, Window::open(in_flight, now));
        self.relearn = seen.slowdown().is_some_and(|slowdown| slowdown * TOLERANCE < 1.0);
        if f64::from(seen.in_flight_peak()) * 2.0 >= self.current {
            self.adjust(&seen, now);
        }
    }

    /// Learns from the end of a call that ran beside `in_flight` others and itself.
    pub(super) fn observe(&mut self, call: &Call, ending: Ending, in_flight: u32, now: Instant) {
        self.turn(in_flight, now);
        let at_least = self.current < self.least + 1.0;
        let learn = self.relearn || at_least || f64::from(in_flight) * 2.0 <= self.current;
        let Some(Adaptive { window: Some(window), times }) = &mut self.adaptive else { return };
        match ending {
            Ending::Answered(took) => window.answered(times.compare(call, took, learn, now)),
            Ending::Overloaded => window.overloaded(),
            Ending::Unknown => {}
        }
    }

    /// When it may move next though nothing happens until then; `None` if it never does.
    pub(super) fn moves_at(&self) -> Option<Instant> {
        let window = self.adaptive.as_ref()?.window.as_ref()?;
        (self.current < self.most).then(|| window.over_at(self.starting))
    }

    fn adjust(&mut self, seen: &Window, now: Instant) {
        let failing = seen.failing_share();
        let gradient = seen.slowdown().map_or(1.0, |slowdown| (TOLERANCE / slowdown).clamp(0.5, 1.0));
        if self.starting && gradient >= 1.0 && failing <= FAILING_TOLERATED {
            self.current = (self.current * 2.0).min(self.most);
            self.starting = self.current < self.most;
            return;
        }
        // A long window stands for many short ones.
        let step = if seen.is_long(now) { 1.0 } else { SMOOTHING };
        let room = if failing <= FAILING_TOLERATED { self.current.sqrt() } else { 0.0 };
        let aim = self.current * gradient * (1.0 - failing / 2.0) + room;
        self.starting = false;
        self.current = (self.current + (aim - self.current) * step).clamp(self.least, self.most);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 1 and CONCURRENCY_MAX by construction"
)]
fn whole(limit: f64) -> u32 {
    limit as u32
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;
