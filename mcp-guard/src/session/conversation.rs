//! Whom a message of the node is for, and which messages of the client may reach it.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use thiserror::Error;

use super::from_node::{FromNode, key};
use super::held::Held;
use super::outlet::{End, Message, Outlet};
use crate::refusal::Reason;

/// Most requests of one client in flight. At the bound those go first whose answer nobody awaits any more; if there
/// is none, the new one is refused.
pub const PENDING_MAX: usize = 1024;

/// Most requests of the node that wait for the client. At the bound the node gets an error.
pub const ASKED_MAX: usize = 128;

/// Most GET streams of one session. At the bound the oldest ends.
pub const LISTENERS_MAX: usize = 4;

/// One session's traffic in both directions.
///
/// - An answer goes to whoever asked; of progress hears whoever gave the token.
/// - All else goes to the newest GET stream; without one, to the newest request in flight; without any, it is held
///   until there is one.
/// - A response of the client's reaches the node only if it answers a request of the node's.
/// - A client that leaves does not cancel (revisions up to 2025-11-25): its entry stays, so that its id is not used
///   for something else, and the answer is dropped when it comes.
#[derive(Debug)]
pub struct Conversation<O> {
    pending: HashMap<Box<str>, Pending<O>>,
    asked: HashSet<Box<str>>,
    listeners: Vec<(u64, O)>,
    held: Held,
    sequence: u64,
    lost: u64,
    is_over: bool,
}

#[derive(Debug)]
struct Pending<O> {
    outlet: Option<O>,
    progress_token: Option<Box<str>>,
    is_carrier: bool,
    sequence: u64,
}

/// The place of a request in flight.
#[derive(Debug)]
pub struct Ticket {
    key: Box<str>,
    sequence: u64,
}

impl Ticket {
    /// Its number, which no other request of the conversation has, whatever its id.
    pub fn number(&self) -> u64 {
        self.sequence
    }
}

/// Why a request may not be sent.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "adapters must say what each means on the wire")]
pub enum AskError {
    /// The id is in use; answers could not be told apart.
    #[error("a request with this id is in flight")]
    IdInFlight,
    /// [`PENDING_MAX`] requests are in flight.
    #[error("{PENDING_MAX} requests of this session are in flight")]
    Full,
    /// The session has ended.
    #[error("the session has ended")]
    Over,
}

impl<O> Default for Conversation<O> {
    fn default() -> Self {
        Self {
            pending: HashMap::new(),
            asked: HashSet::new(),
            listeners: Vec::new(),
            held: Held::default(),
            sequence: 0,
            lost: 0,
            is_over: false,
        }
    }
}

impl<O: Outlet> Conversation<O> {
    /// Notes a request of the client's before it is sent.
    ///
    /// `is_carrier` says whether its answer may be a stream that carries other messages too.
    ///
    /// # Errors
    ///
    /// An [`AskError`] if it may not be sent.
    pub fn ask(
        &mut self,
        id: &str,
        progress_token: Option<&str>,
        is_carrier: bool,
        outlet: O,
    ) -> Result<Ticket, AskError> {
        let key: Box<str> = key(id).into();
        if self.is_over {
            return Err(AskError::Over);
        }
        if self.pending.contains_key(&key) {
            return Err(AskError::IdInFlight);
        }
        self.make_room()?;
        let sequence = self.next();
        let progress_token = progress_token.map(|token| super::from_node::key(token).into());
        let pending = Pending { outlet: Some(outlet), progress_token, is_carrier, sequence };
        self.pending.insert(key.clone(), pending);
        self.flush();
        Ok(Ticket { key, sequence })
    }

    /// Takes back a request that was not sent.
    pub fn forget(&mut self, ticket: &Ticket) {
        if self.pending.get(&ticket.key).is_some_and(|pending| pending.sequence == ticket.sequence) {
            self.pending.remove(&ticket.key);
        }
    }

    /// Notes that nobody waits any more for the answer to a request that was sent.
    pub fn abandon(&mut self, ticket: &Ticket) {
        if let Some(pending) = self.pending.get_mut(&ticket.key).filter(|p| p.sequence == ticket.sequence) {
            pending.outlet = None;
        }
    }

    /// Ends the waiting for a request that the client takes back. The node may answer it or not.
    pub fn cancel(&mut self, id: &str) {
        if let Some(outlet) = self.pending.get_mut(key(id).as_ref()).and_then(|pending| pending.outlet.take()) {
            outlet.finish(End::Cancelled);
        }
    }

    /// Whether a response of the client's answers a request of the node's; each is answered once.
    pub fn take_asked(&mut self, id: &str) -> bool {
        self.asked.remove(key(id).as_ref())
    }

    /// Opens a stream for what the node says of its own accord; `None` once the session is over.
    pub fn listen(&mut self, outlet: O) -> Option<u64> {
        if self.is_over {
            return None;
        }
        if self.listeners.len() >= LISTENERS_MAX {
            self.listeners.remove(0).1.finish(End::Closed);
        }
        let sequence = self.next();
        self.listeners.push((sequence, outlet));
        self.flush();
        Some(sequence)
    }

    /// Notes that a stream is gone.
    pub fn unlisten(&mut self, listener: u64) {
        self.listeners.retain(|(sequence, _)| *sequence != listener);
    }

    /// Puts a message of the node where it belongs, and returns what the node must be told: that a request of its
    /// own cannot be delivered.
    pub fn receive(&mut self, message: &FromNode<'_>, line: Bytes) -> Vec<Bytes> {
        match *message {
            FromNode::Response { id, .. } => {
                match self.pending.remove(key(id).as_ref()).and_then(|pending| pending.outlet) {
                    Some(outlet) => outlet.finish(End::Answered(line)),
                    None => self.lost += 1,
                }
                Vec::new()
            }
            FromNode::Request { id, .. } => {
                if self.asked.len() >= ASKED_MAX {
                    return vec![undeliverable(id)];
                }
                self.asked.insert(key(id).into());
                self.route(Message { line, id: Some(id.into()) })
            }
            FromNode::Notification { progress_token, cancelled, .. } => {
                if let Some(id) = cancelled {
                    self.asked.remove(key(id).as_ref());
                }
                let message = Message { line, id: None };
                match progress_token.and_then(|token| self.by_token(token)).map(|outlet| outlet.offer(message.clone()))
                {
                    Some(Ok(())) => Vec::new(),
                    // Nobody else wants to hear of this progress.
                    Some(Err(_)) => {
                        self.lost += 1;
                        Vec::new()
                    }
                    None => self.route(message),
                }
            }
        }
    }

    /// Finds another way for messages that were handed over but did not reach the client. As [`Self::receive`].
    pub fn reroute(&mut self, messages: impl IntoIterator<Item = Message>) -> Vec<Bytes> {
        messages.into_iter().flat_map(|message| self.route(message)).collect()
    }

    /// The node is gone, and the session is not: what it asked is void. Streams stay, for what the next one says.
    ///
    /// Returns those who wait for its answers; whoever knows what becomes of them tells them.
    pub fn disconnect(&mut self) -> Vec<O> {
        self.asked.clear();
        self.held.drop_requests();
        self.pending.drain().filter_map(|(_, pending)| pending.outlet).collect()
    }

    /// Ends the session: whoever waits is told. Nothing can be asked after this.
    pub fn end(&mut self) {
        self.is_over = true;
        for outlet in self.pending.drain().filter_map(|(_, pending)| pending.outlet) {
            outlet.finish(End::Broken);
        }
        for (_, outlet) in self.listeners.drain(..) {
            outlet.finish(End::Closed);
        }
    }

    /// Whether someone waits for the node.
    pub fn is_busy(&self) -> bool {
        !self.listeners.is_empty() || self.pending.values().any(|pending| pending.outlet.is_some())
    }

    /// How many messages of the node reached nobody.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn make_room(&mut self) -> Result<(), AskError> {
        if self.pending.len() < PENDING_MAX {
            return Ok(());
        }
        let abandoned = self.pending.iter().filter(|(_, pending)| pending.outlet.is_none());
        let oldest = abandoned.min_by_key(|(_, pending)| pending.sequence).map(|(key, _)| key.clone());
        let oldest = oldest.ok_or(AskError::Full)?;
        self.pending.remove(&oldest);
        Ok(())
    }

    fn by_token(&self, token: &str) -> Option<&O> {
        let token = key(token);
        let asked = |pending: &&Pending<O>| pending.progress_token.as_deref() == Some(token.as_ref());
        self.pending.values().filter(|pending| pending.outlet.is_some()).find(asked)?.outlet.as_ref()
    }

    /// Delivers to the first that takes it: the newest stream, the newest request, the messages held.
    fn route(&mut self, message: Message) -> Vec<Bytes> {
        let Err(message) = self.deliver(message) else { return Vec::new() };
        let mut replies = Vec::new();
        for gone in self.held.push(message) {
            self.lost += 1;
            if let Some(id) = gone.id {
                self.asked.remove(key(&id).as_ref());
                replies.push(undeliverable(&id));
            }
        }
        replies
    }

    fn deliver(&self, mut message: Message) -> Result<(), Message> {
        for (_, listener) in self.listeners.iter().rev() {
            match listener.offer(message) {
                Ok(()) => return Ok(()),
                Err(back) => message = back,
            }
        }
        let carriers = self.pending.values().filter(|pending| pending.is_carrier && pending.outlet.is_some());
        match carriers.max_by_key(|pending| pending.sequence).and_then(|pending| pending.outlet.as_ref()) {
            Some(outlet) => outlet.offer(message),
            None => Err(message),
        }
    }

    fn flush(&mut self) {
        while let Some(message) = self.held.pop() {
            if let Err(back) = self.deliver(message) {
                self.held.unpop(back);
                return;
            }
        }
    }
}

/// Tells the node that the client will not hear its request.
fn undeliverable(id: &str) -> Bytes {
    let code = Reason::QueueFull.code();
    let text = "no stream of the client takes this request";
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{text}"}}}}"#).into()
}
