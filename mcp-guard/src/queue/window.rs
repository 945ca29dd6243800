//! What was seen since the limit last moved.

use std::time::{Duration, Instant};

use super::usual::Deviation;

/// The shortest time between two moves of the limit.
const SHORT: Duration = Duration::from_millis(100);

/// During slow start the limit doubles after this even if nothing was seen: from 8 to 256 within the default `max_wait`.
const BLIND: Duration = Duration::from_millis(250);

/// Later it moves after this even if little was seen.
const LONG: Duration = Duration::from_secs(1);

/// Weight of answers from which their mean is believed. Its standard error is then an eighth, a third of the tolerance.
const ENOUGH_WEIGHT: f64 = 64.0;

/// Failures by overload from which a window need not wait for more.
const ENOUGH_OVERLOADS: u32 = 16;

/// The endings of calls between two moves of the limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    opened: Instant,
    in_flight_peak: u32,
    weight: f64,
    weighted_logs: f64,
    answers: u32,
    overloads: u32,
}

impl Window {
    /// A new window, with `in_flight` calls running.
    pub(super) fn open(in_flight: u32, now: Instant) -> Self {
        Self { opened: now, in_flight_peak: in_flight, weight: 0.0, weighted_logs: 0.0, answers: 0, overloads: 0 }
    }

    /// `in_flight` calls are running.
    pub(super) fn note(&mut self, in_flight: u32) {
        self.in_flight_peak = self.in_flight_peak.max(in_flight);
    }

    /// A call was answered; `deviation` is missing while its class is new.
    pub(super) fn answered(&mut self, deviation: Option<Deviation>) {
        self.answers += 1;
        if let Some(Deviation { log_ratio, weight }) = deviation {
            self.weight += weight;
            self.weighted_logs += weight * log_ratio;
        }
    }

    /// A call failed by overload.
    pub(super) fn overloaded(&mut self) {
        self.overloads += 1;
    }

    /// Whether it is time to judge.
    pub(super) fn is_over(&self, starting: bool, now: Instant) -> bool {
        let enough = self.is_telling() || self.overloads >= ENOUGH_OVERLOADS;
        now >= if enough { self.opened + SHORT } else { self.over_at(starting) }
    }

    /// When that is at the latest.
    pub(super) fn over_at(&self, starting: bool) -> Instant {
        self.opened + if starting { BLIND } else { LONG }
    }

    /// Whether it took [`LONG`].
    pub(super) fn is_long(&self, now: Instant) -> bool {
        now >= self.opened + LONG
    }

    /// Most calls that ran at once.
    pub(super) fn in_flight_peak(&self) -> u32 {
        self.in_flight_peak
    }

    /// How many times as long as usual the answers took (a geometric mean), if enough came to say.
    pub(super) fn slowdown(&self) -> Option<f64> {
        self.is_telling().then(|| (self.weighted_logs / self.weight).exp())
    }

    /// The share of calls that failed by overload, 0 to 1.
    pub(super) fn failing_share(&self) -> f64 {
        f64::from(self.overloads) / f64::from((self.answers + self.overloads).max(1))
    }

    fn is_telling(&self) -> bool {
        self.weight >= ENOUGH_WEIGHT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::start;

    #[test]
    fn the_failing_share_is_of_all_that_ended() {
        let mut window = Window::open(0, start());
        assert!(window.failing_share() <= 0.0);
        (0..3).for_each(|_| window.answered(None));
        window.overloaded();
        assert!((window.failing_share() - 0.25).abs() < 1e-9);
    }
}
