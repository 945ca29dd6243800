//! One load for long, with the node slow, broken and dead in turn, and what the guard holds meanwhile.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;

use super::drive::{Population, Retry, Sessions, drive};
use super::judge::Ask;
use super::node::{BusyNode, Capacity, Mood};
use super::plan::Phase;
use super::sampler::{Faults, Sample, Samples, look_at};
use super::shapes::{GUARD, UPSTREAM, is_wrong};
use super::sidecar::Sidecar;
use super::slope::Slope;
use super::tables::{Summary, summarize};
use crate::{Fault, clock, say};

/// How long, how much, and how often something happens.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the binaries")]
pub struct SoakPlan {
    /// What is judged. One cycle comes before it, in which caches and tables fill.
    pub length: Duration,
    /// Calls a second.
    pub rate: f64,
    /// In each of these the node is slow, failing, refusing and dead, for a twentieth each.
    pub cycle: Duration,
    /// From one look at the guard to the next.
    pub interval: Duration,
}

/// What came of a soak.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Soak {
    /// Calls while it warmed up, and in what is judged.
    pub phases: Vec<Summary>,
    /// Answers that were not those that were asked for.
    pub wrong: u64,
    /// What each figure did.
    pub slopes: BTreeMap<String, Slope>,
    /// What was left of each figure when all had gone and their sessions' time was over.
    pub left: BTreeMap<String, f64>,
}

/// What is watched, as it is called in `/metrics` or here.
const WATCHED: [&str; 9] = [
    "rss_kib",
    "pss_kib",
    "process_open_fds",
    "process_threads",
    "mcp_guard_tasks",
    "mcp_guard_sessions",
    "mcp_guard_connections",
    "mcp_guard_in_flight",
    "mcp_guard_queue_depth",
];

/// What must be gone when all have gone.
const GONE: [&str; 4] = ["mcp_guard_sessions", "mcp_guard_connections", "mcp_guard_in_flight", "mcp_guard_queue_depth"];

/// Longer than the guard keeps a silent session, with the time to find that out.
const UNTIL_GONE: Duration = Duration::from_secs(150);

/// More than are busy at a time while the node is slow.
const LANES: usize = 256;

impl Soak {
    /// Whether no answer was wrong, no figure grew, and nothing was left.
    pub fn is_good(&self) -> bool {
        let is_gone = GONE.iter().all(|name| self.left.get(*name).is_some_and(|left| *left < 0.5));
        self.wrong == 0 && is_gone && self.slopes.values().all(Slope::is_flat) && self.slopes.len() == WATCHED.len()
    }
}

/// Soaks the guard at `program`. Sessions are renewed all the time, one in four of them is left without a word.
///
/// # Errors
///
/// If guard or node do not start.
pub async fn soak(program: &Path, capacity: Capacity, plan: SoakPlan) -> Result<Soak, Fault> {
    let node = BusyNode::start(capacity)?;
    let guard = Arc::new(Sidecar::start(program, node.address(), GUARD, UPSTREAM)?);
    let node = Arc::new(Mutex::new(node));
    let phases = vec![Phase::steady("warm-up", plan.cycle, plan.rate), Phase::steady("soak", plan.length, plan.rate)];
    let population = Population {
        name: "soak".into(),
        source: Ipv4Addr::new(127, 0, 0, 2),
        lanes: LANES,
        phases,
        ask: Ask::Call,
        retry: Retry::Never,
        sessions: Sessions::Renewed(50),
    };
    let mut beside = None;
    let watched = Arc::clone(&guard);
    let begun = |start| {
        let faults = Faults::begin(Arc::clone(&node), faults(&plan), start);
        beside = Some((faults, Samples::begin(watched, plan.interval, start)));
    };
    let driven = drive(guard.address(), vec![population], begun).await?;
    let (faults, samples) = beside.ok_or("nothing was watched")?;
    let samples = samples.end();
    faults.end()?;
    let wrong = driven.iter().flat_map(|driven| &driven.attempts).filter(|attempt| is_wrong(attempt)).count() as u64;
    let phases = driven.iter().flat_map(summarize).collect();
    say(format_args!("all calls are made; what is left is looked at once sessions have run out"));
    let left = left(&guard).await?;
    drop(node);
    Ok(Soak { phases, wrong, slopes: slopes(&samples, &plan), left })
}

/// The four faults of each cycle, a fifth of it apart.
fn faults(plan: &SoakPlan) -> Vec<(Duration, Mood)> {
    let mut all = Vec::new();
    let mut begins = Duration::ZERO;
    while begins + plan.cycle <= plan.cycle + plan.length {
        for (place, mood) in (1..).zip([Mood::Slow(4), Mood::Failing, Mood::Refusing, Mood::Dead]) {
            let at = begins + plan.cycle * place / 5;
            all.extend([(at, mood), (at + plan.cycle / 20, Mood::Well)]);
        }
        begins += plan.cycle;
    }
    all
}

fn slopes(samples: &[Sample], plan: &SoakPlan) -> BTreeMap<String, Slope> {
    let (from, to) = (plan.cycle.as_secs_f64(), (plan.cycle + plan.length).as_secs_f64());
    let points = |name: &str| {
        let judged = samples.iter().filter(|sample| (from..to).contains(&sample.seconds));
        judged.filter_map(|sample| Some((sample.seconds, *sample.figures.get(name)?))).collect::<Vec<_>>()
    };
    WATCHED.iter().filter_map(|name| Some(((*name).to_owned(), Slope::of(&points(name))?))).collect()
}

/// The figures when nothing is there any more, or when that does not come.
async fn left(guard: &Sidecar) -> Result<BTreeMap<String, f64>, Fault> {
    let start = clock::now();
    loop {
        let sample = look_at(guard, start).ok_or("the guard does not answer")?;
        let is_gone = |name: &&str| sample.figures.get(*name).is_some_and(|left| *left < 0.5);
        if GONE.iter().all(is_gone) || clock::now() > start + UNTIL_GONE {
            let left = |name: &&str| Some(((*name).to_owned(), *sample.figures.get(*name)?));
            return Ok(WATCHED.iter().filter_map(left).collect());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
