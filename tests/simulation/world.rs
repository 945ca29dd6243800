//! What all who take part in a simulation share: chance, what has happened, and what must not have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use fastrand::Rng;
use mcp_guard::middleware::clock;

use crate::network::Net;
use crate::plan::Plan;

/// One run. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) net: Net,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    rng: Rng,
    began: Instant,
    /// What has happened, with its virtual milliseconds.
    told: Vec<String>,
    /// What must not have.
    broken: Vec<String>,
    weather: Weather,
    /// How often a node has heard each call of a tool, by what its argument is.
    heard: BTreeMap<String, u32>,
    /// How many calls of tools were sent, how many of them have surely reached the guard's concerns, and how many had a result.
    begun: u64,
    settled: u64,
    served: u64,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        // Not the numbers that the plan was drawn by.
        let mut rng = Rng::with_seed(!plan.seed);
        let net = Net::new(rng.fork());
        let shared = Shared {
            rng,
            began: clock::now(),
            told: Vec::new(),
            broken: Vec::new(),
            weather: Weather::Fair,
            heard: BTreeMap::new(),
            begun: 0,
            settled: 0,
            served: 0,
        };
        Self { plan: Arc::new(plan), net, shared: Arc::new(Mutex::new(shared)) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Chance for somebody who takes part.
    pub(crate) fn chance(&self) -> Rng {
        self.lock().rng.fork()
    }

    /// Something has happened.
    pub(crate) fn tell(&self, what: impl AsRef<str>) {
        let mut shared = self.lock();
        let at = clock::now().duration_since(shared.began).as_millis();
        let what = what.as_ref();
        shared.told.push(format!("{at:>7} {what}"));
    }

    /// Something has happened that must not.
    pub(crate) fn breaks(&self, what: impl AsRef<str>) {
        let what = what.as_ref();
        self.tell(format!("BROKEN {what}"));
        self.lock().broken.push(what.to_owned());
    }

    /// Breaks unless it `holds`.
    pub(crate) fn must(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.breaks(what());
        }
    }

    pub(crate) fn weather(&self) -> Weather {
        self.lock().weather
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.tell(format!("weather: {weather:?}"));
        self.lock().weather = weather;
    }

    /// A node has heard a call of `tool` with this argument.
    pub(crate) fn hears(&self, tool: &str, argument: &str) {
        let times = {
            let mut shared = self.lock();
            let times = shared.heard.entry(argument.to_owned()).or_default();
            *times += 1;
            *times
        };
        let may_repeat = tool == READ && self.plan.is_trusting;
        let most = if may_repeat { self.plan.attempts } else { 1 };
        self.must(times <= most, || format!("I11: {tool} of {argument} was heard {times} times, {most} may be"));
    }

    /// How often a node has heard the call with this argument.
    pub(crate) fn heard(&self, argument: &str) -> u32 {
        self.lock().heard.get(argument).copied().unwrap_or_default()
    }

    /// A call of a tool is sent.
    pub(crate) fn begins(&self) {
        self.lock().begun += 1;
    }

    /// A call of a tool was answered by the guard's concerns, or a node.
    pub(crate) fn is_answered(&self) {
        self.lock().settled += 1;
    }

    /// At the end each call that has reached the guard's concerns was `counted` once.
    pub(crate) fn settles(&self, counted: u64) {
        let (begun, settled) = {
            let shared = self.lock();
            (shared.begun, shared.settled)
        };
        self.must((settled..=begun).contains(&counted), || {
            format!("I3: {counted} calls are counted; {settled} were answered, and {begun} begun")
        });
    }

    /// A call has its result.
    pub(crate) fn serves(&self) {
        self.lock().served += 1;
    }

    pub(crate) fn served(&self) -> u64 {
        self.lock().served
    }

    /// What has happened, and what of it must not have.
    pub(crate) fn history(&self) -> (Vec<String>, Vec<String>) {
        let shared = self.lock();
        (shared.told.clone(), shared.broken.clone())
    }
}

/// How the world is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Weather {
    /// Nothing goes wrong: nothing may fail.
    Fair,
    /// Nodes die and lie, and are cut off.
    Chaos,
    /// Nothing goes wrong any more; what has may still be felt.
    Clearing,
    /// Nothing goes wrong, but the guard leaves: calls that begin now may find nobody.
    Leaving,
}

/// A tool that may not be called twice.
pub(crate) const ECHO: &str = "echo";

/// One that says that it only reads.
pub(crate) const READ: &str = "read";

/// One that may not be called twice, and takes seconds.
pub(crate) const SLOW: &str = "slow";

/// What each argument begins with, so that one that has got where it must not is found.
pub(crate) const ARGUMENT: &str = "argument-";
