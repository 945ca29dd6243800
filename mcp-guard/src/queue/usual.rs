//! How long the calls of each class usually take.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::call::Call;
use crate::ring::Ring;

/// Most tools whose usual time is kept; one that has not answered for long makes room for another ([`Ring`]).
///
/// Only calls that succeed are learned from, so names that clients invent do not get in.
pub(super) const TOOLS_MAX: usize = 256;

/// Answers of a class from which its usual time is first taken.
const WARM_UP: u32 = 10;

/// The time over which what is usual follows what is.
const MEMORY: Duration = Duration::from_secs(60);

/// The most that one answer of a rare class moves what is usual.
const STEP_MAX: f64 = 0.1;

/// What a variance is never taken to be below: a spread of about 35 %. It bounds the weight of one answer to 8.
const VARIANCE_MIN: f64 = 0.125;

/// The usual times of all classes: each method is one, and under `tools/call` each tool.
///
/// Times are compared as logarithms. The mean of a class is then steady even if its calls take 10 ms or 10 s at random,
/// and "twice as slow" means the same for a ping and for a report.
#[derive(Debug, Default)]
pub(super) struct UsualTimes {
    methods: BTreeMap<&'static str, Usual>,
    tools: BTreeMap<Arc<str>, Usual>,
    ring: Ring,
}

/// How far one answer was from what is usual for its class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Deviation {
    /// The natural logarithm of actual over usual time, within ±1 so that no single answer decides.
    pub(super) log_ratio: f64,
    /// How much it says: little in a class whose times vary anyway (inverse variance).
    pub(super) weight: f64,
}

impl UsualTimes {
    /// Compares an answer to `call` with what is usual; learns from it if `learn`, or if the class is new.
    pub(super) fn compare(&mut self, call: &Call, took: Duration, learn: bool, now: Instant) -> Option<Deviation> {
        let usual = match call.tool() {
            None => self.methods.entry(call.method.label()).or_insert_with(|| Usual::new(now)),
            Some(tool) => self.tool(tool, now)?,
        };
        let log = took.as_secs_f64().max(1e-6).ln();
        let deviation = usual.deviation(log);
        usual.learn(log, learn, now);
        deviation
    }

    fn tool(&mut self, tool: &str, now: Instant) -> Option<&mut Usual> {
        if !self.tools.contains_key(tool) {
            let name = Arc::<str>::from(tool);
            if self.tools.len() < TOOLS_MAX {
                self.ring.push(Arc::clone(&name));
            } else {
                let has_answered = |tool: &Arc<str>| {
                    self.tools.get_mut(tool).is_some_and(|usual| std::mem::take(&mut usual.has_answered))
                };
                let other = self.ring.replace(Arc::clone(&name), has_answered)?;
                self.tools.remove(&other);
            }
            self.tools.insert(name, Usual::new(now));
        }
        self.tools.get_mut(tool)
    }
}

/// Mean and variance of the logarithm of a class's times, weighted towards the last [`MEMORY`].
#[derive(Clone, Copy, Debug)]
struct Usual {
    mean: f64,
    variance: f64,
    answers: u32,
    answered_at: Instant,
    /// Since the hand of the ring came by.
    has_answered: bool,
}

impl Usual {
    fn new(now: Instant) -> Self {
        Self { mean: 0.0, variance: 0.0, answers: 0, answered_at: now, has_answered: true }
    }

    fn deviation(&self, log: f64) -> Option<Deviation> {
        (self.answers >= WARM_UP).then(|| Deviation {
            log_ratio: (log - self.mean).clamp(-1.0, 1.0),
            weight: 1.0 / self.variance.max(VARIANCE_MIN),
        })
    }

    /// The incremental mean and variance of West, "Updating mean and variance estimates" (CACM 22(9), 1979).
    fn learn(&mut self, log: f64, learn: bool, now: Instant) {
        let step = if self.answers < WARM_UP {
            self.answers += 1;
            1.0 / f64::from(self.answers)
        } else if learn {
            // By time, not by count: else a busy node would take being overloaded for usual within a second.
            let since = now.saturating_duration_since(self.answered_at);
            (since.as_secs_f64() / MEMORY.as_secs_f64()).min(STEP_MAX)
        } else {
            0.0
        };
        self.answered_at = now;
        self.has_answered = true;
        let distance = log - self.mean;
        self.mean += step * distance;
        self.variance = (1.0 - step) * (self.variance + step * distance * distance);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::testing::{MS, call, start, tool};

    fn warm(times: &mut UsualTimes, call: &Call, took: Duration, now: Instant) {
        for _ in 0..WARM_UP {
            assert_eq!(times.compare(call, took, false, now), None);
        }
    }

    #[test]
    fn each_tool_and_each_method_is_compared_with_itself() {
        let (mut times, now) = (UsualTimes::default(), start());
        let (report, ping) = (tool("report"), call("ping"));
        warm(&mut times, &report, 30_000 * MS, now);
        warm(&mut times, &ping, MS, now);
        let ratio = |deviation: Option<Deviation>| deviation.unwrap().log_ratio.exp();
        assert!((ratio(times.compare(&report, 30_000 * MS, false, now)) - 1.0).abs() < 1e-9);
        assert!((ratio(times.compare(&ping, 2 * MS, false, now)) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn an_answer_of_a_class_that_varies_says_less() {
        let (mut times, now) = (UsualTimes::default(), start());
        for round in 0..WARM_UP {
            times.compare(&tool("varies"), if round % 2 == 0 { 10 * MS } else { 10_000 * MS }, false, now);
            times.compare(&tool("steady"), 10 * MS, false, now);
        }
        let varies = times.compare(&tool("varies"), 10_000 * MS, false, now).unwrap();
        let steady = times.compare(&tool("steady"), 10 * MS, false, now).unwrap();
        assert!(varies.weight * 50.0 < steady.weight, "{varies:?} {steady:?}");
    }

    #[test]
    fn what_is_usual_moves_with_time_and_not_with_the_number_of_answers() {
        let (mut times, now) = (UsualTimes::default(), start());
        warm(&mut times, &call("ping"), MS, now);
        for step in 0..10_000 {
            times.compare(&call("ping"), 2 * MS, true, now + step * MS / 10);
        }
        let after_a_second = times.compare(&call("ping"), 2 * MS, false, now + 1_000 * MS).unwrap();
        assert!(after_a_second.log_ratio.exp() > 1.9, "{after_a_second:?}");
        for step in 1..1_000 {
            times.compare(&call("ping"), 2 * MS, true, now + 1_000 * MS + step * 300 * MS);
        }
        let after_minutes = times.compare(&call("ping"), 2 * MS, false, now + 301_000 * MS).unwrap();
        assert!(after_minutes.log_ratio.exp() < 1.1, "{after_minutes:?}");
    }

    #[test]
    fn a_tool_that_has_not_answered_for_longest_makes_room() {
        let (mut times, now) = (UsualTimes::default(), start());
        warm(&mut times, &tool("old"), MS, now);
        for number in 0..u32::try_from(TOOLS_MAX).unwrap() {
            times.compare(&tool(&format!("t{number}")), MS, false, now + (number + 1) * MS);
        }
        assert_eq!(times.tools.len(), TOOLS_MAX);
        assert!(!times.tools.contains_key("old") && times.tools.contains_key("t0"));
    }
}
