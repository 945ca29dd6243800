//! Sessions by id: bounded, and those that are silent for long leave.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use super::SessionId;

/// At most so many sessions, each of which leaves when it is silent for `idle`.
///
/// Using a session costs one hash lookup. Each has one place in the order of expiry, which is corrected only when
/// its time seems to have come, so that a busy session costs no more than an idle one.
#[derive(Debug)]
pub struct SessionTable<V> {
    sessions: HashMap<SessionId, Entry<V>>,
    /// When to look at a session again. The number makes the key unique.
    order: BTreeMap<(Instant, u64), SessionId>,
    sessions_max: NonZeroUsize,
    idle: Duration,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    used: Instant,
    due: (Instant, u64),
}

/// There was no place; the value is given back.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Full<V> {
    /// What was to be inserted.
    pub value: V,
}

impl<V> SessionTable<V> {
    /// An empty table.
    pub fn new(sessions_max: NonZeroUsize, idle: Duration) -> Self {
        Self { sessions: HashMap::new(), order: BTreeMap::new(), sessions_max, idle, sequence: 0 }
    }

    /// Adds a session, used `now`. An older one with the same id is replaced.
    ///
    /// # Errors
    ///
    /// [`Full`] at `sessions_max`. Nothing leaves to make room: a session is state that a client relies on.
    pub fn insert(&mut self, id: SessionId, value: V, now: Instant) -> Result<(), Full<V>> {
        self.remove(id);
        if self.sessions.len() >= self.sessions_max.get() {
            return Err(Full { value });
        }
        let due = self.schedule(id, now);
        self.sessions.insert(id, Entry { value, used: now, due });
        Ok(())
    }

    /// The session called `id`, which is thereby used.
    pub fn get(&mut self, id: SessionId, now: Instant) -> Option<&V> {
        let entry = self.sessions.get_mut(&id)?;
        entry.used = entry.used.max(now);
        Some(&entry.value)
    }

    /// The same, which is not thereby used.
    pub fn peek(&self, id: SessionId) -> Option<&V> {
        self.sessions.get(&id).map(|entry| &entry.value)
    }

    /// Ends the session called `id`.
    pub fn remove(&mut self, id: SessionId) -> Option<V> {
        let entry = self.sessions.remove(&id)?;
        self.order.remove(&entry.due);
        Some(entry.value)
    }

    /// Ends one session that was silent for too long; call until there is none.
    ///
    /// A session for which `is_busy` holds counts as used now.
    pub fn expire(&mut self, now: Instant, is_busy: impl Fn(&V) -> bool) -> Option<(SessionId, V)> {
        while let Some((&due, &id)) = self.order.first_key_value() {
            if due.0 > now {
                return None;
            }
            self.order.remove(&due);
            let Some(entry) = self.sessions.get_mut(&id) else { continue };
            if is_busy(&entry.value) {
                entry.used = now;
            }
            let used = entry.used;
            if used + self.idle <= now {
                return self.sessions.remove(&id).map(|entry| (id, entry.value));
            }
            let due = self.schedule(id, used);
            if let Some(entry) = self.sessions.get_mut(&id) {
                entry.due = due;
            }
        }
        None
    }

    /// When [`SessionTable::expire`] should be called next; `None` while there are no sessions.
    pub fn next_due(&self) -> Option<Instant> {
        self.order.first_key_value().map(|((at, _), _)| *at)
    }

    /// Ends all sessions.
    pub fn drain(&mut self) -> impl Iterator<Item = V> + use<'_, V> {
        self.order.clear();
        self.sessions.drain().map(|(_, entry)| entry.value)
    }

    /// All sessions, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.sessions.values().map(|entry| &entry.value)
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn schedule(&mut self, id: SessionId, used: Instant) -> (Instant, u64) {
        self.sequence += 1;
        let due = (used + self.idle, self.sequence);
        self.order.insert(due, id);
        due
    }
}
