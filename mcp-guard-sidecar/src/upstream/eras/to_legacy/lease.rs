//! A session in use.

use std::ops::{Deref, DerefMut};

use mcp_guard::middleware::clock;
use tokio::runtime::Handle;

use super::node::Node;
use super::session::Session;
use crate::upstream::eras::NodeUpstream;
use crate::upstream::eras::message::Message;

/// A session that one call uses, or one client that listens. Dropped, it ends: what the node does in it may take its time.
pub(super) struct Lease<U: NodeUpstream> {
    node: Node<U>,
    session: Session,
    /// The request that has no answer yet: its id, as JSON text.
    in_flight: Option<Box<str>>,
    is_over: bool,
}

impl<U: NodeUpstream> Lease<U> {
    pub(super) fn new(node: &Node<U>, session: Session) -> Self {
        Self { node: node.clone(), session, in_flight: None, is_over: false }
    }

    /// Begins a request; gives the id by which the node knows it.
    pub(super) fn begin(&mut self) -> Box<str> {
        let id = self.session.next_id();
        self.in_flight = Some(id.clone());
        id
    }

    /// The request is answered, or the node does not know it.
    pub(super) fn settled(&mut self) {
        self.in_flight = None;
    }

    /// Keeps the session for its client's next call.
    pub(super) fn give_back(mut self) {
        self.is_over = true;
        if let Some(oldest) = self.node.shared.pool.keep(self.session.clone(), clock::now()) {
            drop(Self::new(&self.node, oldest));
        }
    }

    /// The same lease, of a session of which more is known.
    pub(super) fn with(mut self, session: Session) -> Self {
        self.session = session;
        self
    }
}

impl<U: NodeUpstream> Deref for Lease<U> {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl<U: NodeUpstream> DerefMut for Lease<U> {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl<U: NodeUpstream> Drop for Lease<U> {
    fn drop(&mut self) {
        let (false, Ok(runtime)) = (self.is_over, Handle::try_current()) else { return };
        let (node, session) = (self.node.clone(), self.session.clone());
        let cancelled = self.in_flight.take().map(|id| {
            let params = format!(r#"{{"requestId":{id},"reason":"the client has left"}}"#);
            Message::notification("notifications/cancelled", &params)
        });
        runtime.spawn(async move {
            if let Some(cancelled) = cancelled {
                node.say(session.leave(cancelled)).await;
            }
            node.end(&session).await;
        });
    }
}
