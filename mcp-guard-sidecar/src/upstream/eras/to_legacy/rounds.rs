//! Calls that wait until their client has answered what the node asked, between two requests of the client's.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcp_guard::call::{Call, Method};
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::session::SessionId;

use super::flight::Flight;
use crate::random;
use crate::upstream::eras::NodeUpstream;
use crate::upstream::eras::caller::Identity;
use crate::upstream::eras::object::{Object, quote};

/// How long a client may take to answer. Then the call is cancelled.
pub(super) const LASTS: Duration = Duration::from_secs(300);

/// Calls that wait of one client.
const OF_ONE_MAX: usize = 16;

/// A request of the node's.
pub(super) struct Question {
    /// The node's id for it, as JSON text.
    pub(super) id: Box<str>,
    /// Its method, and its params as JSON text.
    method: Box<str>,
    params: Box<str>,
}

impl Question {
    /// One without `_meta`: of its progress the client has no way to tell.
    pub(super) fn new(id: &str, method: &str, params: Option<Object<'_>>) -> Self {
        let mut params = params.unwrap_or_default();
        params.take("_meta");
        Self { id: id.into(), method: method.into(), params: params.to_string().into() }
    }
}

/// A call whose node waits for answers.
pub(super) struct Round<U: NodeUpstream> {
    pub(super) flight: Flight<U>,
    pub(super) questions: Vec<Question>,
    identity: Identity,
    method: Method,
    target: Option<Box<str>>,
    since: Instant,
}

impl<U: NodeUpstream> Round<U> {
    pub(super) fn new(
        flight: Flight<U>,
        questions: Vec<Question>,
        identity: Identity,
        call: &Call,
        now: Instant,
    ) -> Self {
        let target = call.target.as_deref().map(Box::from);
        Self { flight, questions, identity, method: call.method.clone(), target, since: now }
    }

    fn is_of(&self, identity: &Identity, call: &Call) -> bool {
        self.identity == *identity && self.method == call.method && self.target.as_deref() == call.target.as_deref()
    }

    /// The questions that `responses` answer, each with its answer.
    pub(super) fn answered<'r>(&self, responses: &'r Object<'_>) -> Vec<(Box<str>, &'r str)> {
        let answer = |question: &Question| {
            let answer = responses.get(&key(question)).filter(|answer| answer.starts_with('{'))?;
            Some((question.id.clone(), answer))
        };
        self.questions.iter().filter_map(answer).collect()
    }

    /// The node has the answer to the question with this id.
    pub(super) fn settle(&mut self, id: &str) {
        self.questions.retain(|question| &*question.id != id);
    }
}

/// What a question is called in `inputRequests`: the node's id, in which the client need see nothing.
fn key(question: &Question) -> String {
    question.id.trim_matches('"').to_owned()
}

/// All calls that wait, by the `requestState` that their clients were given.
pub(super) struct Rounds<U: NodeUpstream> {
    waiting: Mutex<HashMap<SessionId, Round<U>>>,
    max: AtomicUsize,
}

impl<U: NodeUpstream> Rounds<U> {
    /// None yet, and never more than so many: each holds a place at the node.
    pub(super) fn new(max: usize) -> Self {
        Self { waiting: Mutex::default(), max: AtomicUsize::new(max.max(1)) }
    }

    /// Never more than so many from now on; those that wait wait on.
    pub(super) fn set_max(&self, max: usize) {
        self.max.store(max.max(1), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Round<U>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call wait; gives the result by which its client is asked, as JSON text.
    pub(super) fn wait(&self, round: Round<U>) -> Result<String, Refusal> {
        let state = random::id().map_err(|error| Refusal::new(Reason::QueueFull, error.to_string()))?;
        let result = asking(&round.questions, state);
        let mut waiting = self.lock();
        let of_one = waiting.values().filter(|known| known.identity == round.identity).count();
        if waiting.len() >= self.max.load(Ordering::Relaxed) || of_one >= OF_ONE_MAX {
            let detail =
                format!("{} calls wait for their clients' answers, {of_one} of them for this one's", waiting.len());
            return Err(Refusal::new(Reason::QueueFull, detail));
        }
        waiting.insert(state, round);
        Ok(result)
    }

    /// Puts a call back that was taken.
    pub(super) fn put_back(&self, state: SessionId, round: Round<U>) {
        self.lock().insert(state, round);
    }

    /// Takes the call that waits under `state` for the client with `identity`, which goes on with it by `call`.
    pub(super) fn take(&self, state: &str, identity: &Identity, call: &Call) -> Result<(SessionId, Round<U>), Refusal> {
        let unknown = || Refusal::new(Reason::InvalidParams, "`requestState` is none that waits: begin the call anew");
        let state = SessionId::parse(state).ok_or_else(unknown)?;
        let mut waiting = self.lock();
        if !waiting.get(&state).is_some_and(|round| round.is_of(identity, call)) {
            return Err(unknown());
        }
        waiting.remove(&state).map(|round| (state, round)).ok_or_else(unknown)
    }

    /// Ends those whose client took too long. They are dropped by whoever gets them.
    pub(super) fn take_idle(&self, now: Instant, lasts: Duration) -> Vec<Round<U>> {
        let is_due = |round: &Round<U>| now.saturating_duration_since(round.since) >= lasts;
        self.lock().extract_if(|_, round| is_due(round)).map(|(_, round)| round).collect()
    }
}

fn asking(questions: &[Question], state: SessionId) -> String {
    let mut requests = String::new();
    for question in questions {
        let comma = if requests.is_empty() { "" } else { "," };
        let Question { params, .. } = question;
        let (key, method) = (quote(&key(question)), quote(&question.method));
        requests += &format!(r#"{comma}{key}:{{"method":{method},"params":{params}}}"#);
    }
    format!(r#"{{"resultType":"input_required","inputRequests":{{{requests}}},"requestState":"{state}"}}"#)
}
