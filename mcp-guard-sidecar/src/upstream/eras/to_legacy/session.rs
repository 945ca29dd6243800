//! Sessions with a legacy node that the guard keeps for clients which have none.
//!
//! A session serves one call at a time, and always the same client: so what the node asks or tells is about that call, and
//! nothing of one client is seen by another. It is used again by the client's next call.

use std::collections::{BTreeMap, HashMap};
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
    key: Arc<Key>,
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
            key: Arc::new(key),
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
            key: Arc::clone(&known.key),
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

/// Sessions that wait for their client's next call.
#[derive(Default)]
pub(super) struct Pool(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Of each client those that wait, by their numbers.
    by_key: HashMap<Arc<Key>, BTreeMap<u64, Session>>,
    /// Whose each is, and since when it waits: who came first waits longest.
    order: BTreeMap<u64, (Arc<Key>, Instant)>,
    next: u64,
}

impl Waiting {
    fn take(
        &mut self,
        key: &Key,
        choose: impl FnOnce(&mut BTreeMap<u64, Session>) -> Option<(u64, Session)>,
    ) -> Option<Session> {
        let of_key = self.by_key.get_mut(key)?;
        let (number, session) = choose(of_key)?;
        if of_key.is_empty() {
            self.by_key.remove(key);
        }
        self.order.remove(&number);
        Some(session)
    }

    fn take_oldest(&mut self) -> Option<Session> {
        let key = Arc::clone(&self.order.first_key_value()?.1.0);
        self.take(&key, BTreeMap::pop_first)
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was used last.
    pub(super) fn take(&self, key: &Key) -> Option<Session> {
        self.lock().take(key, BTreeMap::pop_last)
    }

    /// Keeps a session whose call is over. What comes back has to end.
    pub(super) fn keep(&self, mut session: Session, now: Instant) -> Option<Session> {
        session.is_used = true;
        let mut waiting = self.lock();
        let oldest = if waiting.order.len() >= WAITING_MAX { waiting.take_oldest() } else { None };
        let (key, number) = (Arc::clone(&session.facts.key), waiting.next);
        waiting.next += 1;
        waiting.order.insert(number, (Arc::clone(&key), now));
        waiting.by_key.entry(key).or_default().insert(number, session);
        oldest
    }

    /// The one that waits longest, which has to end to make room.
    pub(super) fn make_room(&self) -> Option<Session> {
        self.lock().take_oldest()
    }

    /// Those that have waited for `idle`; they have to end.
    pub(super) fn take_idle(&self, now: Instant, idle: Duration) -> Vec<Session> {
        let mut waiting = self.lock();
        let mut due = Vec::new();
        while let Some((_, (_, since))) = waiting.order.first_key_value()
            && now.saturating_duration_since(*since) >= idle
        {
            let Some(session) = waiting.take_oldest() else { break };
            due.push(session);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use mcp_guard::middleware::clock;

    use super::*;

    fn session(introduction: &str, id: usize) -> Session {
        let (head, ()) = http::Request::post("/").body(()).unwrap().into_parts();
        let caller = Caller::by(&Arc::new(head));
        let key = Key { identity: caller.identity(), introduction: introduction.into() };
        Session::unbegun(key, &caller, Some(HeaderValue::from(id)))
    }

    fn id(session: Option<Session>) -> Option<String> {
        Some(session?.facts.id.as_ref()?.to_str().ok()?.to_owned())
    }

    #[test]
    fn at_the_bound_the_one_that_waits_longest_makes_room() {
        let (pool, now) = (Pool::default(), clock::now());
        for number in 0..WAITING_MAX {
            let client = if number % 2 == 0 { "alice" } else { "bob" };
            assert!(pool.keep(session(client, number), now).is_none());
        }
        assert_eq!(id(pool.take(&session("bob", 0).facts.key)), Some((WAITING_MAX - 1).to_string()));
        assert!(pool.take(&session("carol", 0).facts.key).is_none());
        assert!(pool.keep(session("bob", WAITING_MAX), now + IDLE).is_none());
        assert_eq!(id(pool.keep(session("carol", WAITING_MAX + 1), now + IDLE)), Some("0".into()));
        assert_eq!(id(pool.make_room()), Some("1".into()));
        assert_eq!(pool.take_idle(now + IDLE, IDLE).len(), WAITING_MAX - 3);
        assert_eq!(pool.take_idle(now + IDLE + IDLE, IDLE).len(), 2);
        assert!(pool.make_room().is_none());
    }
}
