//! A config that changes while the guard runs: all of it at once, or nothing.
//!
//! | when                                       | what happens                                                        |
//! |--------------------------------------------|---------------------------------------------------------------------|
//! | the file has other contents, seen each second | it is read                                                       |
//! | SIGHUP, `POST /reload`                     | the same, whatever it contains                                      |
//! | it is valid, and differs in what can change | calls to come meet the new config, those in flight end by the old one |
//! | it is valid, and differs in nothing        | nothing                                                             |
//! | it is not valid, or cannot be taken over   | nothing; it is told in the log, in metrics and at `/status`         |
//!
//! What callers have spent, what is tripped, what was learned goes over to the new config
//! ([`GuardLayer::succeeded`](mcp_guard::GuardLayer::succeeded)).

mod source;
mod watcher;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use metrics::{counter, gauge};
use serde_json::{Value, json};

use crate::config::{Config, Upstream};

pub use source::Source;
pub use watcher::Watcher;

/// Prepares to take a config over, in a part of the guard, or says why it cannot.
pub type Takeover = Box<dyn Fn(Change<'_>) -> Result<Commit, String> + Send + Sync>;

/// Takes a config over. It cannot fail any more.
pub type Commit = Box<dyn FnOnce(Change<'_>)>;

/// One config that counts after another.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing else to a change")]
pub struct Change<'a> {
    /// The one that counted.
    pub before: &'a Config,
    /// The one that is to count.
    pub next: &'a Config,
}

impl<'a> Change<'a> {
    /// The upstream of the next, if it is another.
    pub fn upstream(self) -> Option<&'a Upstream> {
        (self.before.upstreams() != self.next.upstreams()).then(|| self.next.upstreams().first()).flatten()
    }
}

/// A takeover that needs no preparation.
pub fn take_over(commit: impl Fn(Change<'_>) + Send + Sync + 'static) -> Takeover {
    let commit = Arc::new(commit);
    Box::new(move |_| {
        let commit = Arc::clone(&commit);
        Ok(Box::new(move |change| commit(change)))
    })
}

/// The config that counts, and how it becomes another. Clones are the same.
#[derive(Clone)]
pub struct Reload(Arc<Shared>);

struct Shared {
    source: Option<Source>,
    takeovers: Vec<Takeover>,
    /// Read by many; changed by who holds `turn`.
    state: ArcSwap<State>,
    turn: Mutex<()>,
}

#[derive(Clone)]
struct State {
    config: Arc<Config>,
    /// How many configs have counted.
    generation: u64,
    since: SystemTime,
    /// Why the last one that was read does not count.
    rejected: Option<String>,
}

/// A config that can be taken over.
struct Next {
    config: Config,
    /// Which keys it has otherwise.
    changes: Vec<String>,
    commits: Vec<Commit>,
}

/// What came of a reload.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is nothing else that can come of it")]
pub enum Outcome {
    /// The new config counts; these keys are others.
    Applied(Vec<String>),
    /// It is the same.
    Unchanged,
    /// It does not count, one problem a line.
    Rejected(String),
}

impl Reload {
    /// Begins with `config`, which came from `source`. All `takeovers` are prepared before the first of them takes a config over,
    /// one after the other.
    pub fn new(config: Config, source: Option<Source>, takeovers: Vec<Takeover>) -> Self {
        gauge!("mcp_guard_config_rejected").set(0.0);
        let state = State { config: Arc::new(config), generation: 1, since: now(), rejected: None };
        Self(Arc::new(Shared { source, takeovers, state: ArcSwap::from_pointee(state), turn: Mutex::default() }))
    }

    /// Reads the config, and takes it over if it can be. Blocks while the file is read.
    pub fn now(&self) -> Outcome {
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = State::clone(&self.0.state.load());
        let outcome = match self.read(&state.config) {
            Err(problems) => Outcome::Rejected(problems),
            Ok(None) => Outcome::Unchanged,
            Ok(Some(Next { config, changes, commits })) => {
                {
                    let change = Change { before: &state.config, next: &config };
                    commits.into_iter().for_each(|commit| commit(change));
                }
                state =
                    State { config: Arc::new(config), generation: state.generation + 1, since: now(), rejected: None };
                Outcome::Applied(changes)
            }
        };
        state.rejected = match &outcome {
            Outcome::Rejected(problems) => Some(problems.clone()),
            Outcome::Applied(_) | Outcome::Unchanged => None,
        };
        tell(&outcome, state.generation);
        self.0.state.store(Arc::new(state));
        outcome
    }

    /// The config as it is to be, if it is not the same.
    fn read(&self, before: &Config) -> Result<Option<Next>, String> {
        let Some(source) = &self.0.source else { return Ok(None) };
        let config = source.load().map_err(|error| error.to_string())?;
        let changes = before.changes(&config);
        if changes.is_empty() {
            return Ok(None);
        }
        before.allows(&config, &source.name()).map_err(|error| error.to_string())?;
        let commits = self.0.takeovers.iter().map(|prepare| prepare(Change { before, next: &config }));
        let commits = commits.collect::<Result<_, _>>().map_err(|why| format!("{}: {why}", source.name()))?;
        Ok(Some(Next { config, changes: changes.iter().map(ToString::to_string).collect(), commits }))
    }

    /// The config that counts.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.0.state.load().config)
    }

    /// How it came to be, for `/status`.
    pub fn status(&self) -> Value {
        let state = self.0.state.load();
        let since = state.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        json!({
            "source": self.0.source.as_ref().map_or_else(|| "built in".into(), Source::name),
            "generation": state.generation,
            "since": since,
            "rejected": state.rejected,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the time of day, to be told")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn tell(outcome: &Outcome, generation: u64) {
    let label = match outcome {
        Outcome::Applied(changes) => {
            tracing::info!(generation, ?changes, "config reloaded");
            "applied"
        }
        Outcome::Unchanged => "unchanged",
        Outcome::Rejected(problems) => {
            problems.lines().for_each(|problem| tracing::error!(problem, "config not reloaded: the one before counts"));
            "rejected"
        }
    };
    counter!("mcp_guard_config_reloads_total", "outcome" => label).increment(1);
    gauge!("mcp_guard_config_rejected").set(f64::from(u8::from(label == "rejected")));
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("source", &self.0.source).finish_non_exhaustive()
    }
}
