//! What happens beside a run: the node changes its mood, and the guard is looked at.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::node::{BusyNode, Mood};
use super::sidecar::Sidecar;
use crate::process::pause;
use crate::{Fault, clock};

/// A node whose moods follow a plan, on a thread of its own.
#[derive(Debug)]
pub struct Faults {
    thread: JoinHandle<Result<(), String>>,
}

/// How long a node may take until it listens again.
const PATIENCE: Duration = Duration::from_secs(5);

impl Faults {
    /// Makes `node` be what `plan` says, at times after `start`.
    pub fn begin(node: Arc<Mutex<BusyNode>>, plan: Vec<(Duration, Mood)>, start: Instant) -> Self {
        let follow = move || {
            for (at, mood) in plan {
                pause((start + at).saturating_duration_since(clock::now()));
                be(&node, mood).map_err(|fault| format!("the node cannot be {mood:?}: {fault}"))?;
            }
            Ok(())
        };
        Self { thread: std::thread::spawn(follow) }
    }

    /// Waits for the end of the plan.
    ///
    /// # Errors
    ///
    /// If the node could not do as it was told.
    pub fn end(self) -> Result<(), Fault> {
        Ok(self.thread.join().map_err(|_| "the thread of the faults panicked")??)
    }
}

/// The port of one that has just died may be taken for a moment.
fn be(node: &Mutex<BusyNode>, mood: Mood) -> Result<(), Fault> {
    let until = clock::now() + PATIENCE;
    loop {
        let done = node.lock().unwrap_or_else(PoisonError::into_inner).be(mood);
        if done.is_ok() || clock::now() > until {
            return done;
        }
        pause(Duration::from_millis(20));
    }
}

/// Figures of a guard, again and again.
#[derive(Debug)]
pub struct Samples {
    thread: JoinHandle<Vec<Sample>>,
    over: Arc<AtomicBool>,
}

/// Figures at a time, in seconds after the start.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    pub(crate) figures: BTreeMap<String, f64>,
}

impl Samples {
    /// Looks at `guard` each `interval`, counted from `start`.
    pub fn begin(guard: Arc<Sidecar>, interval: Duration, start: Instant) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let look = move || {
            let (mut samples, mut next) = (Vec::new(), start);
            while !is_over.load(Ordering::Relaxed) {
                let left = next.saturating_duration_since(clock::now());
                if !left.is_zero() {
                    pause(left.min(Duration::from_millis(100)));
                    continue;
                }
                next += interval;
                samples.extend(look_at(&guard, start));
            }
            samples
        };
        Self { thread: std::thread::spawn(look), over }
    }

    pub(crate) fn end(self) -> Vec<Sample> {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// One look; `None` if the guard does not answer.
pub(crate) fn look_at(guard: &Sidecar, start: Instant) -> Option<Sample> {
    let mut figures = guard.figures().ok()?;
    let (rss, pss) = guard.memory_kib();
    figures.insert("rss_kib".into(), rss as f64);
    figures.insert("pss_kib".into(), pss as f64);
    Some(Sample { seconds: clock::now().saturating_duration_since(start).as_secs_f64(), figures })
}
