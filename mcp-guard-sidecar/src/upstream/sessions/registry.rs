//! The sessions of one upstream, shared by all runtimes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mcp_guard::middleware::clock;
use mcp_guard::session::{Conversation, SessionId, SessionTable};
use metrics::gauge;

use super::options::SessionOptions;
use super::session::Session;

#[derive(Debug)]
pub(super) struct Registry(Mutex<State>);

#[derive(Debug)]
struct State {
    table: SessionTable<Arc<Session>>,
    is_draining: bool,
    /// How many were told of last.
    reported: usize,
    /// Which sweeper is at work.
    sweeper: Option<u64>,
    sweepers: u64,
}

impl Registry {
    pub(super) fn new(options: &SessionOptions) -> Self {
        let table = SessionTable::new(options.sessions_max, options.session_idle);
        Self(Mutex::new(State { table, is_draining: false, reported: 0, sweeper: None, sweepers: 0 }))
    }

    /// Adds a session; false if there is no place, or the guard drains.
    pub(super) fn insert(self: &Arc<Self>, session: &Arc<Session>) -> bool {
        self.add(session, |_| true)
    }

    /// The same, and false too if there is one of this id.
    pub(super) fn insert_new(self: &Arc<Self>, session: &Arc<Session>) -> bool {
        self.add(session, |table| table.peek(session.id()).is_none())
    }

    fn add(self: &Arc<Self>, session: &Arc<Session>, may_be: impl FnOnce(&SessionTable<Arc<Session>>) -> bool) -> bool {
        let sweeper = {
            let mut state = self.lock();
            if !may_be(&state.table) {
                return false;
            }
            if state.is_draining || state.table.insert(session.id(), Arc::clone(session), clock::now()).is_err() {
                return false;
            }
            state.report();
            state.next_sweeper()
        };
        if let Some(number) = sweeper {
            tokio::spawn(sweep(Sweeper { registry: Arc::clone(self), number }));
        }
        true
    }

    /// The session called `id`, which is thereby used.
    pub(super) fn find(&self, id: SessionId) -> Option<Arc<Session>> {
        self.lock().table.get(id, clock::now()).cloned()
    }

    /// The session called `id`, which is not thereby used.
    pub(super) fn peek(&self, id: SessionId) -> Option<Arc<Session>> {
        self.lock().table.peek(id).cloned()
    }

    /// All sessions, in no order.
    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().table.values().cloned().collect()
    }

    /// Takes `session` out, and not another one of the same id.
    pub(super) fn remove(&self, session: &Arc<Session>) {
        let mut state = self.lock();
        if state.table.peek(session.id()).is_some_and(|known| Arc::ptr_eq(known, session)) {
            state.table.remove(session.id());
            state.report();
        }
    }

    /// Ends all sessions, and takes no more.
    pub(super) fn drain(&self) {
        let sessions: Vec<_> = {
            let mut state = self.lock();
            state.is_draining = true;
            let sessions = state.table.drain().collect();
            state.report();
            sessions
        };
        sessions.iter().for_each(|session| session.end());
    }

    pub(super) fn is_draining(&self) -> bool {
        self.lock().is_draining
    }

    pub(super) fn len(&self) -> usize {
        self.lock().table.len()
    }

    /// When the session that is silent longest will leave.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.lock().table.next_due()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends sessions whose time is over, and says how long to wait; `None` when there are no sessions left.
    fn expire(&self, now: Instant) -> Option<Duration> {
        let mut expired = Vec::new();
        let next = {
            let mut state = self.lock();
            let is_busy = |session: &Arc<Session>| session.converse(|conversation| Conversation::is_busy(conversation));
            while let Some((_, session)) = state.table.expire(now, is_busy) {
                expired.push(session);
            }
            state.report();
            let next = state.table.next_due();
            if next.is_none() {
                // Under the lock, so that the next session to come starts another sweeper.
                state.sweeper = None;
            }
            next
        };
        for session in expired {
            tracing::info!(session = session.hint(), "the session was silent for too long");
            session.end();
        }
        next.map(|due| due.saturating_duration_since(now))
    }
}

impl State {
    #[expect(clippy::cast_precision_loss, reason = "there are not 2^52 sessions")]
    fn report(&mut self) {
        // There may be several registries in one guard.
        let now = self.table.len();
        gauge!("mcp_guard_sessions").increment(now as f64 - self.reported as f64);
        self.reported = now;
    }

    /// The number of the sweeper to start, if there is none.
    fn next_sweeper(&mut self) -> Option<u64> {
        if self.sweeper.is_some() {
            return None;
        }
        self.sweepers += 1;
        self.sweeper = Some(self.sweepers);
        self.sweeper
    }
}

/// The one task that lets sessions expire. It ends with the last of them, or with its runtime.
struct Sweeper {
    registry: Arc<Registry>,
    number: u64,
}

async fn sweep(sweeper: Sweeper) {
    while let Some(wait) = sweeper.registry.expire(clock::now()) {
        tokio::time::sleep(wait).await;
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if state.sweeper == Some(self.number) {
            state.sweeper = None;
        }
    }
}
