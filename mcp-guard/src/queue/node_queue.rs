//! The queue in front of one node: limit, caps and waiting room put together.

use std::time::{Duration, Instant};

use super::class::{Client, Priority};
use super::codel::{self, StandingQueue};
use super::drain::DrainRate;
use super::limit::{Ending, Limit};
use super::line::Ticket;
use super::policy::QueuePolicy;
use super::tool_caps::{CapKey, Taken, ToolCaps};
use super::waiting::{Stage, Waiter, WaitingRoom};
use crate::call::Call;
use crate::config::ToolPolicy;
use crate::outcome::Outcome;

/// Admits calls, lets others wait, and refuses the rest. `W` is whatever wakes a waiter.
///
/// A call with a capped tool takes its tool's place first and then stands in line for the node, so one that waits for
/// its tool is in nobody's way. The queue holds no clock and wakes nobody: after each operation the caller passes on what
/// [`take_notices`](Self::take_notices) has, and each waiter [`look`](Self::look)s up when it was told to. Every call that [`wait`](Self::wait) lets in ends in exactly one way: a [`Notice`], a
/// [`Look::TimedOut`], or [`leave`](Self::leave).
#[derive(Debug)]
pub struct NodeQueue<W> {
    policy: QueuePolicy,
    limit: Limit,
    in_flight: u32,
    caps: ToolCaps,
    room: WaitingRoom<W>,
    standing: StandingQueue,
    drain: DrainRate,
    notices: Vec<Notice<W>>,
}

/// A place on the node, and one at the tool where that has a cap. Must be given back with [`NodeQueue::finish`].
#[derive(Debug, Eq, PartialEq)]
#[must_use]
pub struct Place {
    cap: Option<CapKey>,
    taken_at: Instant,
}

impl Place {
    /// When the call got it, which is when its run time starts to count.
    pub fn taken_at(&self) -> Instant {
        self.taken_at
    }
}

/// What a waiter must be told.
#[derive(Debug)]
#[non_exhaustive]
pub struct Notice<W> {
    /// Who is told.
    pub wake: W,
    /// Its place, or why it gets none.
    pub word: Result<Place, Shed>,
}

/// A call that is not admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Shed {
    /// Why.
    pub why: Why,
    /// When there may be a place, by how fast places come free now.
    pub retry_after: Duration,
}

/// Why a call is not admitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// No room to wait in, or none in a queue that stands, or another call had a better claim to it.
    Full,
    /// No place came free in time.
    Timeout,
}

/// What became of a waiter that looks up.
#[derive(Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Look {
    /// It has been told, or is just being told.
    Told,
    /// It still waits; it must look up again at this instant.
    Waits(Instant),
    /// Its time is up; it is out.
    TimedOut(Shed),
}

/// How the queue stands, for the metrics.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Levels {
    /// Calls that hold a place.
    pub in_flight: u32,
    /// Calls that wait for one.
    pub waiting: u32,
    /// Calls that may hold one.
    pub limit: u32,
}

impl<W> NodeQueue<W> {
    /// An empty queue.
    pub fn new(policy: QueuePolicy, tools: &[ToolPolicy]) -> Self {
        let limit = Limit::new(&policy);
        Self::with_limit(policy, tools, limit)
    }

    /// An empty queue that begins with the limit that another had come to, as far as `policy` allows it.
    pub fn succeeding(policy: QueuePolicy, tools: &[ToolPolicy], before: u32) -> Self {
        let limit = Limit::succeeding(&policy, before);
        Self::with_limit(policy, tools, limit)
    }

    fn with_limit(policy: QueuePolicy, tools: &[ToolPolicy], limit: Limit) -> Self {
        Self {
            limit,
            policy,
            in_flight: 0,
            caps: ToolCaps::new(tools),
            room: WaitingRoom::default(),
            standing: StandingQueue::default(),
            drain: DrainRate::default(),
            notices: Vec::new(),
        }
    }

    /// Admits `call` if there is a place and nobody has a better claim to it.
    pub fn admit(&mut self, call: &Call, now: Instant) -> Option<Place> {
        self.turn(self.in_flight + 1, now);
        if self.in_flight >= self.limit.get() || !self.room.nobody_waits_for_the_node() {
            return None;
        }
        let cap = match self.caps.take(call.tool()) {
            Taken::Uncapped => None,
            Taken::Place(key) => Some(key),
            Taken::Full(_) => return None,
        };
        self.in_flight += 1;
        Some(Place { cap, taken_at: now })
    }

    /// Lets `call`, which was not admitted, wait. `deadline` is when its caller gives up, if that is known.
    ///
    /// # Errors
    ///
    /// [`Why::Full`] without room; [`Why::Timeout`] if the caller's deadline is over.
    pub fn wait(&mut self, call: &Call, deadline: Option<Instant>, wake: W, now: Instant) -> Result<Ticket, Shed> {
        let (client, priority) = (Client::of(call), Priority::of(call));
        let allowed = now + self.policy.max_wait();
        let deadline = deadline.map_or(allowed, |deadline| deadline.min(allowed));
        if deadline <= now {
            return Err(self.too_late(None, now));
        }
        self.make_room(&client, priority, call.tool(), now)?;
        let (stage, cap) = match self.caps.take(call.tool()) {
            Taken::Uncapped => (Stage::Node, None),
            Taken::Place(key) => (Stage::Node, Some(key)),
            Taken::Full(key) => (Stage::Tool, Some(key)),
        };
        let waiter = Waiter { client: client.clone(), priority, cap: cap.clone(), stage, deadline, wake };
        if stage == Stage::Node {
            self.will_be_in_line(now);
        }
        let ticket = self.room.enter(waiter);
        match (stage, cap.and_then(|key| self.caps.cap(&key))) {
            (Stage::Tool, Some(cap)) => cap.join(&client, ticket, now),
            (Stage::Node, Some(cap)) => cap.in_line += 1,
            (Stage::Tool | Stage::Node, None) => {}
        }
        // Who had to give way may have left places behind.
        self.dispatch(now);
        Ok(ticket)
    }

    /// Says what became of `ticket`.
    pub fn look(&mut self, ticket: Ticket, now: Instant) -> Look {
        self.turn(self.in_flight, now);
        match self.room.deadline(ticket) {
            None => Look::Told,
            Some(deadline) if now < deadline => {
                Look::Waits(self.limit.moves_at().map_or(deadline, |moves_at| moves_at.min(deadline)))
            }
            Some(_) => match self.take_out(ticket, now) {
                None => Look::Told,
                Some(waiter) => {
                    let shed = self.too_late(waiter.cap.as_ref().filter(|_| waiter.stage == Stage::Tool), now);
                    self.dispatch(now);
                    Look::TimedOut(shed)
                }
            },
        }
    }

    /// The caller of `ticket` left. Nothing happens if it was told already: then it has a [`Place`] to give back, or none.
    pub fn leave(&mut self, ticket: Ticket, now: Instant) {
        if self.take_out(ticket, now).is_some() {
            self.dispatch(now);
        }
    }

    /// Takes `place` back from a call. The limit learns from how it ended, if that is known.
    pub fn finish(&mut self, place: Place, ended: Option<(&Call, Outcome)>, now: Instant) {
        let held = now.saturating_duration_since(place.taken_at);
        if let Some((call, outcome)) = ended {
            let ending = Ending::of(outcome, held);
            self.limit.observe(call, ending, self.in_flight, now);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        self.drain.freed(held, now);
        if let Some(key) = place.cap {
            self.give_back(&key, Some(place.taken_at), now);
        }
        self.dispatch(now);
    }

    /// What must be told to whom. To be asked after each of the other operations.
    pub fn take_notices(&mut self) -> Vec<Notice<W>> {
        std::mem::take(&mut self.notices)
    }

    /// How the queue stands.
    pub fn levels(&self) -> Levels {
        let waiting = u32::try_from(self.room.len()).unwrap_or(u32::MAX);
        Levels { in_flight: self.in_flight, waiting, limit: self.limit.get() }
    }

    /// How many may be in line for the node at `now`, where that is fewer than the room has places: while the queue stands.
    pub fn line_bound(&self, now: Instant) -> Option<usize> {
        let stands = self.standing.stands(&self.policy, now);
        let interval = || self.drain.interval(self.limit.get(), self.policy.max_wait(), now);
        stands.then(|| codel::places(&self.policy, interval()))
    }

    fn turn(&mut self, in_flight: u32, now: Instant) {
        self.limit.turn(in_flight, now);
        self.dispatch(now);
    }

    /// Gives free places of the node to those who are next.
    fn dispatch(&mut self, now: Instant) {
        while self.in_flight < self.limit.get() {
            let Some(waiter) = self.room.next() else { break };
            self.leaves_line(waiter.cap.as_ref());
            if waiter.deadline <= now {
                // Its own timer has not fired yet. It could still be served, but its deadline is its caller's too.
                let shed = self.too_late(None, now);
                self.notices.push(Notice { wake: waiter.wake, word: Err(shed) });
                waiter.cap.iter().for_each(|key| self.give_back(key, None, now));
                continue;
            }
            self.in_flight += 1;
            self.notices.push(Notice { wake: waiter.wake, word: Ok(Place { cap: waiter.cap, taken_at: now }) });
        }
        self.standing.note(self.room.nobody_waits_for_the_node(), &self.policy, now);
    }

    /// Gives a tool's place back; who is next in the tool's line takes it and gets in line for the node.
    fn give_back(&mut self, key: &CapKey, ran: Option<Instant>, now: Instant) {
        self.caps.give_back(key, ran, now);
        if let Some(next) = self.caps.take_from_line(key) {
            self.will_be_in_line(now);
            self.room.advance(next);
        }
        self.caps.tidy(key);
    }

    /// Takes a waiter out of the room, out of its line, and gives back its tool's place if it had that already.
    fn take_out(&mut self, ticket: Ticket, now: Instant) -> Option<Waiter<W>> {
        let waiter = self.room.remove(ticket)?;
        match (&waiter.cap, waiter.stage) {
            (None, _) => {}
            (Some(key), Stage::Node) => {
                self.leaves_line(Some(key));
                self.give_back(key, None, now);
            }
            (Some(key), Stage::Tool) => {
                if let Some(cap) = self.caps.cap(key) {
                    cap.leave(&waiter.client, ticket);
                }
                self.caps.tidy(key);
            }
        }
        Some(waiter)
    }

    /// Sees that the room, and the line where the newcomer gets in, has a free place for it.
    fn make_room(&mut self, client: &Client, priority: Priority, tool: Option<&str>, now: Instant) -> Result<(), Shed> {
        let in_line = self.room.in_line();
        let stands = self.line_bound(now).is_some_and(|bound| in_line.len() >= bound);
        let places = if stands && !self.caps.is_all_that_lacks(tool) {
            self.standing.found_full(now);
            in_line
        } else if self.room.len() >= self.policy.waiting_max() {
            self.room.places()
        } else {
            return Ok(());
        };
        let gives_way = places.gives_way_to(client, priority);
        let shed = Shed { why: Why::Full, retry_after: self.retry_after(places.len(), now) };
        let ousted = gives_way.and_then(|ticket| self.take_out(ticket, now)).ok_or(shed)?;
        self.notices.push(Notice { wake: ousted.wake, word: Err(shed) });
        Ok(())
    }

    /// Somebody is about to get in line for the node.
    fn will_be_in_line(&mut self, now: Instant) {
        if self.room.nobody_waits_for_the_node() {
            self.drain.wanted(now);
        }
    }

    /// A call with this cap no longer stands in line for the node.
    fn leaves_line(&mut self, cap: Option<&CapKey>) {
        if let Some(cap) = cap.and_then(|key| self.caps.cap(key)) {
            cap.in_line = cap.in_line.saturating_sub(1);
        }
    }

    /// The time of one is up that waited for `tool`, or else for the node.
    fn too_late(&mut self, tool: Option<&CapKey>, now: Instant) -> Shed {
        let unknown = self.policy.max_wait();
        let of_tool = tool.and_then(|key| self.caps.cap(key)).map(|cap| cap.retry_after(unknown, now));
        let retry_after = of_tool.unwrap_or_else(|| self.retry_after(self.room.in_line().len(), now));
        Shed { why: Why::Timeout, retry_after }
    }

    /// When there may be a place on the node for one more than `ahead`.
    fn retry_after(&self, ahead: usize, now: Instant) -> Duration {
        self.drain.time_for(ahead + 1, self.limit.get(), self.policy.max_wait(), now)
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod model_tests;
#[cfg(test)]
#[path = "node_queue_tests.rs"]
mod tests;
