//! Medians at growing sizes, and what law they follow.

use super::world::{Call, World};
use crate::Fault;
use crate::stats::{exponent, median};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the binary")]
pub struct Settings {
    /// How many calls each median is of.
    pub iterations: usize,
    /// The most sessions, tools and keys.
    pub largest: usize,
}

/// How many guards are started anew for the median of a first call.
const FIRST_CALLS: usize = 5;

/// The most time for the calls of one median, in nanoseconds: large bodies are called less often.
const NANOS_MAX: f64 = 1e9;

impl Settings {
    /// The median nanoseconds of calls that `call` makes from random numbers, all answered with `status`.
    pub(super) fn median_of(self, world: &World, call: impl Fn(usize) -> Call, status: u16) -> Result<f64, Fault> {
        let some = |count: usize| (0..count).map(|_| call(fastrand::usize(..))).collect::<Vec<_>>();
        let warm = median_nanos(&world.time(&some(8), status)?);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let fitting = (NANOS_MAX / warm) as usize;
        Ok(median_nanos(&world.time(&some(self.iterations.min(fitting).max(5)), status)?))
    }

    /// The median of the first call to some guards that `make` makes, and the last of them.
    pub(super) fn first_calls(self, make: impl Fn() -> Result<World, Fault>) -> Result<(World, f64), Fault> {
        let mut nanos = Vec::new();
        let mut last = make()?;
        for number in 0..FIRST_CALLS {
            if number > 0 {
                last = make()?;
            }
            nanos.extend(last.time(&[Call::default()], 200)?);
        }
        Ok((last, median_nanos(&nanos)))
    }
}

fn median_nanos(nanos: &[u64]) -> f64 {
    median(nanos.iter().map(|nanos| *nanos as f64).collect())
}

/// How a cost may grow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Allowed {
    /// At most with the logarithm: what clients can make many of.
    Logarithmic,
    /// With the size: every byte is read.
    Linear,
}

/// One line of a plot.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    /// What is counted, as of `sizes`.
    pub(super) of: &'static str,
    pub(super) allowed: Allowed,
    /// Size and nanoseconds.
    pub(super) points: Vec<(f64, f64)>,
}

impl Series {
    pub(super) fn new(name: &'static str, of: &'static str, allowed: Allowed) -> Self {
        Self { name, of, allowed, points: Vec::new() }
    }

    pub(super) fn add(&mut self, size: usize, nanos: f64) {
        self.points.push((size as f64, nanos));
    }

    /// Of all points.
    pub(super) fn exponent(&self) -> f64 {
        exponent(&self.points)
    }

    /// Of the two largest sizes, where what is fixed hides the least.
    pub(super) fn last_exponent(&self) -> f64 {
        exponent(self.points.get(self.points.len().saturating_sub(2)..).unwrap_or_default())
    }

    /// Whether it grows no faster than it may. A logarithm looks like an exponent of up to 0.2 over these sizes.
    pub(super) fn is_as_allowed(&self) -> bool {
        let most = match self.allowed {
            Allowed::Logarithmic => 0.25,
            Allowed::Linear => 1.15,
        };
        self.exponent().max(self.last_exponent()) <= most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(allowed: Allowed, cost: fn(f64) -> f64) -> Series {
        let points = [10.0, 100.0, 1000.0, 10_000.0].map(|size| (size, cost(size))).to_vec();
        Series { points, ..Series::new("s", "sizes", allowed) }
    }

    #[test]
    fn a_logarithm_passes_and_a_line_behind_a_fixed_cost_does_not() {
        assert!(of(Allowed::Logarithmic, |size| 1000.0 + 100.0 * size.ln()).is_as_allowed());
        let hidden = of(Allowed::Logarithmic, |size| 10_000.0 + size);
        assert!(hidden.exponent() < 0.25 && !hidden.is_as_allowed());
    }

    #[test]
    fn a_line_passes_as_a_line_and_a_square_does_not() {
        assert!(of(Allowed::Linear, |size| 500.0 + 3.0 * size).is_as_allowed());
        assert!(!of(Allowed::Linear, |size| 500.0 + size * size).is_as_allowed());
    }
}
