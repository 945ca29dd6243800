//! One connection of a session to its node, from its beginning to its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use mcp_guard::middleware::clock;
use mcp_guard::session::FromNode;
use tokio::sync::mpsc;

use super::line::{Came, Line};
use super::session::Session;
use crate::told::Told;

/// Messages that wait for a node to read them. More calls wait outside, holding their place in line.
const LINES_MAX: usize = 8;

/// How long the node may take for what nobody waits for.
const LEISURE: Duration = Duration::from_secs(5);

/// A connection of a session to its node. Its tasks run on the runtime that made it.
#[derive(Debug)]
pub(crate) struct Connection {
    session: Arc<Session>,
    handle: Handle,
}

/// What the session has of its connection. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    /// Of all connections of the session, the how manieth it is.
    pub(super) number: u64,
    pub(super) lines: mpsc::Sender<Line>,
    is_over: Arc<Told<bool>>,
    /// Requests that the node has not run, by their tickets; never more than are in flight.
    unheard: Arc<Mutex<Vec<u64>>>,
}

impl Handle {
    /// Whether the request with this ticket was never run.
    pub(super) fn is_unheard(&self, ticket: u64) -> bool {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner).contains(&ticket)
    }

    /// Ends the connection: who serves it closes it. The session goes on, or not.
    pub(super) fn end(&self) -> bool {
        !self.is_over.set(true)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.see(|is_over| *is_over)
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) {
        self.is_over.until(|is_over| *is_over).await;
    }
}

impl Connection {
    /// The next connection of `session`, and the messages for its node.
    pub(super) fn new(session: &Arc<Session>, number: u64) -> (Arc<Self>, mpsc::Receiver<Line>) {
        let (lines, receiver) = mpsc::channel(LINES_MAX);
        let handle = Handle { number, lines, is_over: Arc::default(), unheard: Arc::default() };
        (Arc::new(Self { session: Arc::clone(session), handle }), receiver)
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What the log calls its session.
    pub(crate) fn hint(&self) -> String {
        self.session.hint()
    }

    /// The head of the client's last request, where the link wants to know.
    pub(crate) fn last_head(&self) -> Option<Arc<Parts>> {
        self.session.last_head()
    }

    /// For whom a message is sent on, and until when it waits: what is the guard's own is said in the name of the client's last
    /// request. `None` if there was none.
    pub(crate) fn asked_by(&self, line: &Line) -> Option<Came> {
        line.came.clone().or_else(|| Some(Came { head: self.last_head()?, until: clock::now() + LEISURE }))
    }

    /// Takes a message of the node.
    pub(super) fn receive(&self, message: &FromNode<'_>, line: Bytes) {
        self.session.receive(message, line);
    }

    /// Notes, before it [`end`](Self::end)s, that a request was not run: it can go to the next node.
    pub(crate) fn unheard(&self, request: &Line) {
        self.handle.unheard.lock().unwrap_or_else(PoisonError::into_inner).extend(request.ticket);
    }

    /// Ends it: the session learns that its node is gone.
    pub(crate) fn end(&self) {
        if self.handle.end() {
            self.session.lose(self.handle.number);
        }
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) {
        self.handle.ended().await;
    }

    /// Whether it has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.handle.is_over()
    }
}
