//! One that calls far more than its share among others who do not.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::drive::{Population, Retry, Sessions, drive};
use super::judge::Ask;
use super::node::{BusyNode, Capacity};
use super::overload::{GUARD, Window, settling};
use super::plan::Phase;
use super::shapes::is_wrong;
use super::sidecar::Sidecar;
use crate::Fault;

/// What came of it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Fairness {
    /// The share of calls of each quiet client that were answered, the lowest.
    pub quiet_answered_least: f64,
    /// Of all of them.
    pub quiet_answered: f64,
    /// The worst p99 of a quiet client, in milliseconds.
    pub quiet_p99_ms: f64,
    /// The share of the noisy one's calls that were answered.
    pub noisy_answered: f64,
    /// What the noisy one got against its fair part: what the others leave.
    pub noisy_of_its_part: f64,
    /// Jain's index (Jain, Chiu and Hawe, DEC-TR-301, 1984) over what each got of its fair part, where more than that counts as
    /// that: 1 if all got theirs.
    pub jain: f64,
    /// Answers that were not those that were asked for.
    pub wrong: u64,
}

/// The quiet ones, each with an address of its own.
const QUIET: u8 = 10;
/// How much of its share of the capacity a quiet one asks for.
const QUIET_SHARE: f64 = 0.8;
/// How many shares the noisy one asks for.
const NOISY_SHARES: f64 = 20.0;
const QUIET_LANES: usize = 100;
const NOISY_LANES: usize = 2_000;

/// Lets eleven clients call the guard at `program` for `time`.
///
/// # Errors
///
/// If guard or node do not start.
pub async fn fairness(program: &Path, capacity: Capacity, time: Duration) -> Result<Fairness, Fault> {
    let node = BusyNode::start(capacity)?;
    let guard = Sidecar::start(program, node.address(), GUARD, "")?;
    let share = capacity.per_second() / f64::from(QUIET + 1);
    let client = |number: u8| {
        let is_noisy = number == QUIET;
        let shares = if is_noisy { NOISY_SHARES } else { QUIET_SHARE };
        Population {
            name: format!("client {number}"),
            source: Ipv4Addr::new(127, 0, 0, 10 + number),
            lanes: if is_noisy { NOISY_LANES } else { QUIET_LANES },
            phases: vec![Phase::steady("all", time, share * shares)],
            ask: Ask::Call,
            retry: Retry::Never,
            sessions: Sessions::Stay,
        }
    };
    let driven = drive(guard.address(), (0..=QUIET).map(client).collect(), |_| ()).await?;
    let window = Window { from: settling(time), to: time };
    let figures: Vec<_> = driven.iter().map(|driven| window.higher(driven)).collect();
    let (noisy, quiet) = driven.split_last().ok_or("nobody called")?;
    let quiet_figures = figures.get(..quiet.len()).unwrap_or_default();
    let part = capacity.per_second() - share * QUIET_SHARE * f64::from(QUIET);
    let noisy_of_its_part = window.goodput(noisy) / part;
    let answered = |figures: &[f64; 3]| figures[0];
    let parts: Vec<f64> = quiet_figures.iter().map(answered).chain([noisy_of_its_part.min(1.0)]).collect();
    let wrong = driven.iter().flat_map(|driven| &driven.attempts).filter(|attempt| is_wrong(attempt)).count() as u64;
    Ok(Fairness {
        quiet_answered_least: quiet_figures.iter().map(answered).fold(1.0, f64::min),
        quiet_answered: quiet_figures.iter().map(answered).sum::<f64>() / quiet.len() as f64,
        quiet_p99_ms: quiet_figures.iter().map(|figures| figures[2]).fold(0.0, f64::max),
        noisy_answered: figures.last().map_or(0.0, answered),
        noisy_of_its_part,
        jain: jain(&parts),
        wrong,
    })
}

fn jain(parts: &[f64]) -> f64 {
    let sum = parts.iter().sum::<f64>();
    let squares = parts.iter().map(|part| part * part).sum::<f64>();
    if squares > 0.0 { sum * sum / (parts.len() as f64 * squares) } else { f64::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_one_if_all_have_the_same_and_a_part_if_one_has_all() {
        assert!((jain(&[0.7, 0.7, 0.7]) - 1.0).abs() < 1e-9);
        assert!((jain(&[1.0, 0.0, 0.0, 0.0]) - 0.25).abs() < 1e-9);
    }
}
