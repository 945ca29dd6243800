//! Sessions with a legacy node that the guard keeps for clients which have none.
//!
//! A session serves one call at a time, and always the same client: so what the node asks or tells is about that call, and
//! nothing of one client is seen by another. It is used again by the client's next call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use mcp_guard::middleware::McpRequest;
use mcp_guard::middleware::headers::SESSION;
use mcp_guard::revision::Revision;

use super::request::Introduction;
use crate::upstream::eras::caller::{Caller, Identity};
use crate::upstream::eras::message::Message;
use crate::upstream::eras::object::Object;

/// What is asked for when a session is opened.
pub(super) const NEWEST: Revision = Revision::V2025_11_25;

/// How long a session waits for its client's next call.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// Sessions that wait, of all clients together. At the bound the one that waits longest ends.
const WAITING_MAX: usize = 1024;

/// Whose a session is.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct Key {
    identity: Identity,
    introduction: Box<str>,
}

impl Key {
    pub(super) fn of(caller: &Caller, introduction: &Introduction) -> Self {
        Self { identity: caller.identity(), introduction: introduction.text().into() }
    }
}

/// A session with the node. Cheap to clone, but whoever has it in use is one.
#[derive(Clone)]
pub(super) struct Session {
    facts: Arc<Facts>,
    /// The log level that was set, as JSON text.
    pub(super) log_level: Option<Box<str>>,
    asked: u64,
    /// Whether a call was answered in it before.
    pub(super) is_used: bool,
}

/// What does not change about a session.
struct Facts {
    key: Key,
    /// What ends it needs the credentials that opened it.
    opener: Caller,
    /// Not all nodes name their sessions.
    id: Option<HeaderValue>,
    revision: Revision,
    server: Box<str>,
    capabilities: Box<str>,
    instructions: Option<Box<str>>,
}

impl Session {
    /// One that the node may have opened, of which nothing is known but its id.
    pub(super) fn unbegun(key: Key, opener: &Caller, id: Option<HeaderValue>) -> Self {
        let facts = Facts {
            key,
            opener: opener.at_leisure(),
            id,
            revision: NEWEST,
            server: r#"{"name":"unknown","version":""}"#.into(),
            capabilities: "{}".into(),
            instructions: None,
        };
        Self { facts: Arc::new(facts), log_level: None, asked: 0, is_used: false }
    }

    /// The same, begun with `result`, what `initialize` was answered; `None` if that names no revision that is known.
    pub(super) fn begun(&self, result: &Object<'_>) -> Option<Self> {
        let text = |name: &str, known: &str| result.get(name).unwrap_or(known).into();
        let known = &self.facts;
        let facts = Facts {
            key: known.key.clone(),
            opener: known.opener.clone(),
            id: known.id.clone(),
            revision: Revision::parse(&result.string("protocolVersion")?)?,
            server: text("serverInfo", &known.server),
            capabilities: text("capabilities", &known.capabilities),
            instructions: result.get("instructions").map(Box::from),
        };
        Some(Self { facts: Arc::new(facts), ..self.clone() })
    }

    /// An id that was not used in it yet, as JSON text.
    pub(super) fn next_id(&mut self) -> Box<str> {
        self.asked += 1;
        // No number: a node may use those for its own requests.
        format!("\"mcp-guard-{}\"", self.asked).into()
    }

    /// `message` in this session, for `caller`.
    pub(super) fn request(&self, caller: &Caller, message: Message) -> McpRequest {
        let headers = self.facts.id.iter().map(|id| (SESSION, id.clone()));
        caller.request(message, self.facts.revision, HeaderMap::from_iter(headers))
    }

    /// `message` in this session, when no client waits any more.
    pub(super) fn leave(&self, message: Message) -> McpRequest {
        self.request(&self.facts.opener, message)
    }

    /// What ends it; `None` if the node knows no sessions.
    pub(super) fn end(&self) -> Option<McpRequest> {
        self.facts.id.is_some().then(|| self.leave(Message::end()))
    }

    /// Who the node says it is, as JSON text.
    pub(super) fn server(&self) -> &str {
        &self.facts.server
    }

    /// What the node can do.
    pub(super) fn capabilities(&self) -> Object<'_> {
        Object::read(&self.facts.capabilities).unwrap_or_default()
    }

    pub(super) fn instructions(&self) -> Option<&str> {
        self.facts.instructions.as_deref()
    }
}

/// Sessions that wait for their client's next call, and since when.
#[derive(Default)]
pub(super) struct Pool {
    waiting: Mutex<HashMap<Key, Vec<(Session, Instant)>>>,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<(Session, Instant)>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was used last.
    pub(super) fn take(&self, key: &Key) -> Option<Session> {
        let mut waiting = self.lock();
        let of_key = waiting.get_mut(key)?;
        let session = of_key.pop();
        if of_key.is_empty() {
            waiting.remove(key);
        }
        Some(session?.0)
    }

    /// Keeps a session whose call is over. What comes back has to end.
    pub(super) fn keep(&self, mut session: Session, now: Instant) -> Option<Session> {
        session.is_used = true;
        let mut waiting = self.lock();
        let is_full = waiting.values().map(Vec::len).sum::<usize>() >= WAITING_MAX;
        let oldest = if is_full { take_oldest(&mut waiting) } else { None };
        waiting.entry(session.facts.key.clone()).or_default().push((session, now));
        oldest
    }

    /// The one that waits longest, which has to end to make room.
    pub(super) fn make_room(&self) -> Option<Session> {
        take_oldest(&mut self.lock())
    }

    /// Those that have waited for `idle`; they have to end.
    pub(super) fn take_idle(&self, now: Instant, idle: Duration) -> Vec<Session> {
        let mut due = Vec::new();
        self.lock().retain(|_, sessions| {
            let is_due = |since: Instant| now.saturating_duration_since(since) >= idle;
            due.extend(sessions.extract_if(.., |(_, since)| is_due(*since)).map(|(session, _)| session));
            !sessions.is_empty()
        });
        due
    }
}

/// The first of each client's has waited longest of them.
fn take_oldest(waiting: &mut HashMap<Key, Vec<(Session, Instant)>>) -> Option<Session> {
    let firsts = waiting.iter().filter_map(|(key, sessions)| Some((key, sessions.first()?.1)));
    let key = firsts.min_by_key(|(_, since)| *since)?.0.clone();
    let sessions = waiting.get_mut(&key)?;
    let (session, _) = sessions.remove(0);
    if sessions.is_empty() {
        waiting.remove(&key);
    }
    Some(session)
}
