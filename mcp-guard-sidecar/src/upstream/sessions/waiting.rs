//! Who waits for what a node says in a session.

use std::sync::Arc;

use mcp_guard::middleware::UpstreamError;
use mcp_guard::session::Ticket;

use super::outbox::{Outbox, Start};
use super::session::{Session, gone};

/// A call that waits for its answer. Dropped, it waits no more, but the node may answer still.
#[derive(Debug)]
pub(super) struct Waiting {
    session: Arc<Session>,
    ticket: Ticket,
    outbox: Outbox,
    is_sent: bool,
}

impl Waiting {
    /// One that is noted, and not sent yet.
    pub(super) fn new(session: &Arc<Session>, ticket: Ticket, outbox: Outbox) -> Self {
        Self { session: Arc::clone(session), ticket, outbox, is_sent: false }
    }

    /// The number of its ticket.
    pub(super) fn ticket(&self) -> u64 {
        self.ticket.number()
    }

    /// It is on its way to the node.
    pub(super) fn sent(&mut self) {
        self.is_sent = true;
    }

    /// The outbox that is filled for it.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(super) async fn start(&self) -> Start {
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
