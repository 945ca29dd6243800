//! The queue as the services share it: its lock, its waiters' wake-ups, and its places as things that are dropped.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::line::Ticket;
use super::meters::Meters;
use super::node_queue::{Levels, Look, NodeQueue, Notice, Place, Shed, Why};
use super::policy::QueuePolicy;
use crate::call::Call;
use crate::config::ToolPolicy;
use crate::middleware::{Shared, clock};
use crate::outcome::Outcome;

/// What a caller is told that waited.
pub(super) type Word = Result<Permit, Shed>;
type Wake = oneshot::Sender<Word>;

/// The one way into the queue. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    state: Shared<State>,
    meters: Arc<OnceLock<Meters>>,
}

#[derive(Debug)]
struct State {
    queue: NodeQueue<Wake>,
    reported: Levels,
    meters: Arc<OnceLock<Meters>>,
}

/// What this queue added to the gauges goes with it, as when a reload builds new ones.
impl Drop for State {
    fn drop(&mut self) {
        if let Some(meters) = self.meters.get() {
            meters.moved(self.reported, Levels::default());
        }
    }
}

impl Gate {
    pub(super) fn new(policy: QueuePolicy, tools: &[ToolPolicy]) -> Self {
        Self::around(NodeQueue::new(policy, tools))
    }

    /// A way into an empty queue that begins with the limit that this one has come to.
    pub(super) fn succeeded(&self, policy: QueuePolicy, tools: &[ToolPolicy]) -> Self {
        let limit = self.state.with(|state| state.queue.levels().limit);
        Self::around(NodeQueue::succeeding(policy, tools, limit))
    }

    fn around(queue: NodeQueue<Wake>) -> Self {
        let meters = Arc::default();
        let state = State { queue, reported: Levels::default(), meters: Arc::clone(&meters) };
        Self { state: Shared::new(state), meters }
    }

    /// A place for `call`, if there is one at once; else it may [`wait`](Self::wait) for one.
    pub(super) fn enter(self: &Arc<Self>, call: &Call, now: Instant) -> Option<Permit> {
        let place = self.run(|queue| queue.admit(call, now))?;
        self.meters.get_or_init(Meters::new).waited(Duration::ZERO);
        Some(Permit { gate: Arc::clone(self), place: Some(place) })
    }

    /// Waits for a place for `call`, which `came` without finding one, at most until `deadline`.
    ///
    /// Dropping the future gives up the wait, or the place if it had just been granted.
    pub(super) async fn wait(self: &Arc<Self>, call: &Call, deadline: Option<Instant>, came: Instant) -> Word {
        let permit = self.wait_in_line(call, deadline, came).await?;
        let waited =
            permit.place.as_ref().map_or(Duration::ZERO, |place| place.taken_at().saturating_duration_since(came));
        self.meters.get_or_init(Meters::new).waited(waited);
        Ok(permit)
    }

    async fn wait_in_line(self: &Arc<Self>, call: &Call, deadline: Option<Instant>, came: Instant) -> Word {
        let (wake, mut word) = oneshot::channel();
        let ticket = self.run(|queue| queue.wait(call, deadline, wake, came))?;
        // Dropped before `word`. It takes the waiter out of the room, or else `word` may hold a place and gives it back.
        let waiting = Waiting { gate: self, ticket };
        loop {
            match self.run(|queue| queue.look(waiting.ticket, clock::now())) {
                Look::TimedOut(shed) => return Err(shed),
                Look::Told => return (&mut word).await.unwrap_or(Err(NEVER_TOLD)),
                Look::Waits(until) => {
                    if let Ok(told) = tokio::time::timeout_at(until.into(), &mut word).await {
                        return told.unwrap_or(Err(NEVER_TOLD));
                    }
                }
            }
        }
    }

    /// Runs `f` on the queue, then tells those whom it concerns.
    fn run<R>(self: &Arc<Self>, f: impl FnOnce(&mut NodeQueue<Wake>) -> R) -> R {
        let (result, mut notices) = self.step(f);
        while !notices.is_empty() {
            for notice in std::mem::take(&mut notices) {
                let word = notice.word.map(|place| Permit { gate: Arc::clone(self), place: Some(place) });
                // The waiter may be leaving at this very moment: then its place comes back, and goes to the next here
                // rather than in the permit's own `Drop`, which would come back here once for each that leaves.
                if let Err(Ok(mut permit)) = notice.wake.send(word)
                    && let Some(place) = permit.place.take()
                {
                    notices.extend(self.step(|queue| queue.finish(place, None, clock::now())).1);
                }
            }
        }
        result
    }

    /// Runs `f` on the queue under its lock and reports how the queue stands after it.
    fn step<R>(&self, f: impl FnOnce(&mut NodeQueue<Wake>) -> R) -> (R, Vec<Notice<Wake>>) {
        let (result, notices, before, after) = self.state.with(|state| {
            let result = f(&mut state.queue);
            let after = state.queue.levels();
            let before = std::mem::replace(&mut state.reported, after);
            (result, state.queue.take_notices(), before, after)
        });
        self.meters.get_or_init(Meters::new).moved(before, after);
        (result, notices)
    }
}

/// A waiter's part in the queue, which ends with it.
struct Waiting<'a> {
    gate: &'a Arc<Gate>,
    ticket: Ticket,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.gate.run(|queue| queue.leave(self.ticket, clock::now()));
    }
}

/// A place, given back when this is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Permit {
    gate: Arc<Gate>,
    place: Option<Place>,
}

impl Permit {
    /// Gives the place back from a `call` that ended with `outcome`.
    pub(super) fn settle(mut self, call: &Call, outcome: Outcome, now: Instant) {
        let Some(place) = self.place.take() else { return };
        self.gate.run(|queue| queue.finish(place, Some((call, outcome)), now));
    }
}

/// A call of which the end is not known teaches nothing.
impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.gate.run(|queue| queue.finish(place, None, clock::now()));
        }
    }
}

/// What a waiter takes its channel's end for. It does not come: the queue tells every waiter that it takes out.
const NEVER_TOLD: Shed = Shed { why: Why::Timeout, retry_after: Duration::ZERO };
