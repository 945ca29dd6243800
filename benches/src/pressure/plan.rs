//! When calls are due: rates that stay, rise or fall, one part after the other.

use std::time::Duration;

/// A part of a plan, whose rate goes in a straight line from one value to another.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the binaries")]
pub struct Phase {
    /// What it is called in tables.
    pub name: String,
    /// How long it is.
    pub length: Duration,
    /// Calls a second at its beginning.
    pub from: f64,
    /// Calls a second at its end.
    pub to: f64,
}

impl Phase {
    /// One whose rate stays.
    pub fn steady(name: impl Into<String>, length: Duration, rate: f64) -> Self {
        Self { name: name.into(), length, from: rate, to: rate }
    }

    /// When its calls are due, counted from its beginning.
    fn dues(&self) -> impl Iterator<Item = Duration> + '_ {
        let length = self.length.as_secs_f64();
        let growth = (self.to - self.from) / length;
        // The n-th is due when the area under the rate is n.
        let at = move |number: u32| {
            let number = f64::from(number);
            let seconds = if growth.abs() < 1e-9 {
                number / self.from
            } else {
                ((self.from * self.from + 2.0 * growth * number).max(0.0).sqrt() - self.from) / growth
            };
            Duration::try_from_secs_f64(seconds).ok()
        };
        (0..self.calls()).map_while(at)
    }

    fn calls(&self) -> u32 {
        let calls = (self.from + self.to) / 2.0 * self.length.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let calls = calls.round() as u32;
        calls
    }
}

/// When each call of `phases` is due, and in which of them.
pub(crate) fn dues(phases: &[Phase]) -> Vec<(Duration, usize)> {
    let mut begins = Duration::ZERO;
    let mut all = Vec::new();
    for (index, phase) in phases.iter().enumerate() {
        all.extend(phase.dues().map(|due| (begins + due, index)));
        begins += phase.length;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_steady_rate_has_even_distances() {
        let phases = [Phase::steady("rest", SECOND, 0.0), Phase::steady("steady", SECOND, 4.0)];
        let millis: Vec<_> = dues(&phases).iter().map(|(due, phase)| (due.as_millis(), *phase)).collect();
        assert_eq!(millis, [(1000, 1), (1250, 1), (1500, 1), (1750, 1)]);
    }

    #[test]
    fn a_ramp_has_as_many_calls_as_its_mean_rate_and_ever_shorter_distances() {
        let ramp = Phase { name: "ramp".into(), length: SECOND * 2, from: 0.0, to: 100.0 };
        let all = dues(&[ramp]);
        assert_eq!(all.len(), 100);
        let distances: Vec<_> = all.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(distances.windows(2).all(|pair| pair[1] <= pair[0] + Duration::from_nanos(2)), "{distances:?}");
        assert!(all.last().unwrap().0 < SECOND * 2);
    }

    #[test]
    fn a_rate_that_falls_to_nothing_ends_in_time() {
        let fall = Phase { name: "fall".into(), length: SECOND, from: 50.0, to: 0.0 };
        let all = dues(&[fall]);
        assert_eq!(all.len(), 25);
        assert!(all.iter().all(|(due, _)| *due <= SECOND));
    }
}
