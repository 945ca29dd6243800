//! All streams that can be resumed, by whose they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::stream::{Reader, Source, Stream, answers_call, numbered, parse_id};

/// How long a stream without a client is kept, and one that has ended.
pub(super) const KEPT: Duration = Duration::from_secs(120);

/// Most streams of a session.
pub(super) const STREAMS_MAX: usize = 16;

/// Whose a stream is.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Owner {
    pub(super) session: HeaderValue,
    pub(super) subject: Option<Arc<str>>,
}

/// What a `Last-Event-ID` of the guard's own names.
pub(super) enum Found {
    /// The stream that is kept, behind this event.
    Kept(Arc<Stream>, u64),
    /// One that only listened, and is not kept here: what it missed is lost, what is to come is not.
    Listened,
    /// The answer to a call, which is not kept here.
    Answer,
}

/// The streams of all sessions.
#[derive(Debug)]
pub struct Streams {
    state: Mutex<State>,
    sessions_max: usize,
}

#[derive(Debug)]
struct State {
    by_owner: HashMap<Owner, Vec<Arc<Stream>>>,
    /// The id of the next stream. No secret: only its owner's streams are looked at.
    next: u64,
}

impl Streams {
    /// None yet, and never of more than so many sessions.
    pub fn new(sessions_max: usize) -> Self {
        // Sessions of a node outlive this process, and may be served by others: an id of theirs is none of ours.
        let state = State { by_owner: HashMap::new(), next: fastrand::u64(..) };
        Self { state: Mutex::new(state), sessions_max }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, owner: &Owner, is_call: bool, source: impl FnOnce() -> Source) -> Option<Reader> {
        let mut state = self.lock();
        let is_known = state.by_owner.contains_key(owner);
        if !is_known && state.by_owner.len() >= self.sessions_max {
            return None;
        }
        state.next = state.next.wrapping_add(1);
        let id = numbered(state.next, is_call);
        let streams = state.by_owner.entry(owner.clone()).or_default();
        if streams.len() >= STREAMS_MAX {
            let oldest = streams.iter().position(|stream| stream.idle_since().is_some())?;
            streams.remove(oldest);
        }
        let stream = Stream::new(id, is_call, source());
        streams.push(Arc::clone(&stream));
        Some(stream.read(0))
    }

    /// What `owner` names by this `Last-Event-ID`; `None` if that is no id of a guard's own.
    pub(super) fn found(&self, owner: &Owner, last_event_id: &str) -> Option<Found> {
        let (stream, event) = parse_id(last_event_id)?;
        Some(match self.find(owner, stream) {
            Some(stream) => Found::Kept(stream, event),
            None if answers_call(stream) => Found::Answer,
            None => Found::Listened,
        })
    }

    pub(super) fn find(&self, owner: &Owner, stream: u64) -> Option<Arc<Stream>> {
        self.lock().by_owner.get(owner)?.iter().find(|known| known.id == stream).cloned()
    }

    pub(super) fn forget(&self, owner: &Owner) {
        let forgotten = self.lock().by_owner.remove(owner);
        // Behind the lock, since what they come from ends with them.
        drop(forgotten);
    }

    /// Forgets those that had no client for long enough, or ended so long ago.
    pub(super) fn sweep(&self, now: Instant) {
        let is_due = |stream: &Arc<Stream>| {
            stream.idle_since().is_some_and(|since| now.saturating_duration_since(since) >= KEPT)
        };
        let mut forgotten = Vec::new();
        self.lock().by_owner.retain(|_, streams| {
            forgotten.extend(streams.extract_if(.., |stream| is_due(stream)));
            !streams.is_empty()
        });
        drop(forgotten);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().by_owner.values().map(Vec::len).sum()
    }
}
