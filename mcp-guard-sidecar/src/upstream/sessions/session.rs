//! One session: a conversation, and the way to its node.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mcp_guard::call::Call;
use mcp_guard::middleware::UpstreamError;
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::session::{AskError, Conversation, FromNode, Profile, SessionId, Ticket};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::outbox::{Outbox, Start};
use crate::upstream::patience::timed_out;

/// Messages that wait for a node to read them. More calls wait outside, holding their place in line.
const LINES_MAX: usize = 8;

/// A session. Its calls may come on any runtime; the tasks of its connection run on the one that opened it.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    profile: Profile,
    /// Who opened it, where that is known.
    subject: Option<Box<str>>,
    lines: mpsc::Sender<Bytes>,
    conversation: Mutex<Conversation<Outbox>>,
    is_over: watch::Sender<bool>,
}

/// A request of the client's, before it is sent.
pub(super) struct Asking<'a> {
    pub(super) id: &'a str,
    pub(super) progress_token: Option<&'a str>,
    /// Whether its answer may be a stream that carries other messages too.
    pub(super) is_carrier: bool,
}

impl Session {
    /// A session that `subject` opened, and the messages for its node.
    pub(super) fn new(
        id: SessionId,
        profile: Profile,
        subject: Option<Box<str>>,
    ) -> (Arc<Self>, mpsc::Receiver<Bytes>) {
        let (lines, receiver) = mpsc::channel(LINES_MAX);
        let is_over = watch::Sender::new(false);
        (Arc::new(Self { id, profile, subject, lines, conversation: Mutex::default(), is_over }), receiver)
    }

    /// Whether whoever sent `call` opened it. Nobody else is served, whatever id he has got hold of.
    pub(super) fn is_of(&self, call: &Call) -> bool {
        self.subject == call.subject
    }

    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    /// What the log calls it.
    pub(crate) fn hint(&self) -> String {
        self.id.hint()
    }

    /// Ends it: whoever waits is told, and the connection is closed by whoever watches [`Session::ended`].
    pub(crate) fn end(&self) {
        if !self.is_over.send_replace(true) {
            self.converse(Conversation::end);
        }
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        *self.is_over.borrow()
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.is_over.subscribe().wait_for(|is_over| *is_over).await;
    }

    /// Takes a message of the node.
    pub(super) fn receive(&self, message: &FromNode<'_>, line: Bytes) {
        let Some(line) = self.profile.from_node(message, line) else { return };
        let replies = self.converse(|conversation| conversation.receive(message, line));
        self.reply(replies);
    }

    /// Sends a request and waits until its answer begins.
    pub(super) async fn ask(
        self: &Arc<Self>,
        asking: Asking<'_>,
        line: Bytes,
        limit: Duration,
    ) -> Result<(Waiting, Start), UpstreamError> {
        let outbox = Outbox::default();
        let Asking { id, progress_token, is_carrier } = asking;
        let ticket = self.converse(|c| c.ask(id, progress_token, is_carrier, outbox.clone())).map_err(refused)?;
        let mut waiting = Waiting { session: Arc::clone(self), ticket, outbox, is_sent: false };
        let exchange = timeout(limit, async {
            self.lines.send(line).await.map_err(|_| gone())?;
            waiting.is_sent = true;
            Ok(waiting.start().await)
        });
        match exchange.await {
            Ok(start) => start.map(|start| (waiting, start)),
            Err(_) if waiting.is_sent => Err(timed_out(limit)),
            Err(_) => Err(UpstreamError::Unavailable("the node does not read".into())),
        }
    }

    /// Sends a notification or a response.
    pub(super) async fn tell(&self, line: Bytes, limit: Duration) -> Result<(), UpstreamError> {
        match timeout(limit, self.lines.send(line)).await {
            Ok(sent) => sent.map_err(|_| gone()),
            Err(_) => Err(UpstreamError::Unavailable("the node does not read".into())),
        }
    }

    /// Looks at the conversation, or changes it. `f` may not wait.
    pub(super) fn converse<T>(&self, f: impl FnOnce(&mut Conversation<Outbox>) -> T) -> T {
        f(&mut self.conversation.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finds another way for what a response did not deliver.
    fn reroute(&self, outbox: &Outbox) {
        let undelivered = outbox.close();
        if !undelivered.is_empty() {
            let replies = self.converse(|conversation| conversation.reroute(undelivered));
            self.reply(replies);
        }
    }

    /// Tells the node that it asked in vain. A node that does not read does not learn of it.
    fn reply(&self, replies: Vec<Bytes>) {
        for reply in replies {
            if self.lines.try_send(reply).is_err() {
                tracing::debug!(session = self.hint(), "the node could not be told that it asked in vain");
            }
        }
    }
}

fn refused(error: AskError) -> UpstreamError {
    match error {
        AskError::IdInFlight => refuse(Reason::InvalidRequest, error.to_string()),
        AskError::Full => refuse(Reason::QueueFull, error.to_string()),
        AskError::Over => gone(),
    }
}

/// The refusal of a session that there is not, or no longer.
pub(super) fn gone() -> UpstreamError {
    refuse(Reason::SessionNotFound, "it has ended, or never was: initialize anew")
}

pub(super) fn refuse(reason: Reason, detail: impl Into<String>) -> UpstreamError {
    UpstreamError::Refused(Box::new(Refusal::new(reason, detail)))
}

/// A call that waits for its answer. Dropped, it waits no more, but the node may answer still.
#[derive(Debug)]
pub(super) struct Waiting {
    session: Arc<Session>,
    ticket: Ticket,
    outbox: Outbox,
    is_sent: bool,
}

impl Waiting {
    /// The outbox that is filled for it.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    async fn start(&self) -> Start {
        std::future::poll_fn(|cx| self.outbox.poll_start(cx)).await
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.session.converse(|conversation| {
            if self.is_sent { conversation.abandon(&self.ticket) } else { conversation.forget(&self.ticket) }
        });
        self.session.reroute(&self.outbox);
    }
}

/// A stream for what the node says of its own accord, until it is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    session: Arc<Session>,
    listener: u64,
    outbox: Outbox,
}

impl Listening {
    /// Opens a stream.
    pub(super) fn new(session: Arc<Session>) -> Result<Self, UpstreamError> {
        let outbox = Outbox::default();
        let listener = session.converse(|conversation| conversation.listen(outbox.clone())).ok_or_else(gone)?;
        Ok(Self { session, listener, outbox })
    }

    /// The outbox that is filled for it.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.session.converse(|conversation| conversation.unlisten(self.listener));
        self.session.reroute(&self.outbox);
    }
}
