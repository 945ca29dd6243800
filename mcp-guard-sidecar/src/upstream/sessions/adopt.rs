//! Sessions that go on in another process, and that come from one.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use mcp_guard::middleware::{McpRequest, UpstreamError};
use mcp_guard::session::SessionId;

use super::keeper::{Why, keep};
use super::line::Came;
use super::open::{Ending, take_place};
use super::record::Record;
use super::service::SessionNode;
use super::session::Session;

impl SessionNode {
    /// Whether there is such a session.
    pub(crate) fn has_session(&self, id: SessionId) -> bool {
        self.inner.registry.peek(id).is_some()
    }

    /// For how long a session may be silent.
    pub(crate) fn session_idle(&self) -> Duration {
        self.inner.options().session_idle
    }

    /// What another process has to know to go on with this session; `None` if there is none, or none that could. If that
    /// `is_successor`, it need not be told of it any more. What is still said in it here is answered here.
    pub(crate) fn give(&self, id: SessionId, is_successor: bool) -> Option<Record> {
        let session = self.inner.registry.peek(id).filter(|_| self.inner.options().fails_over)?;
        let record = Record::of(&session)?;
        session.give(is_successor);
        Some(record)
    }

    /// The same for all that the successor does not have.
    pub(crate) fn give_rest(&self) -> Vec<Record> {
        if !self.inner.options().fails_over {
            return Vec::new();
        }
        let rest = self.inner.registry.all().into_iter().filter(|session| !session.is_over() && !session.is_given());
        rest.filter_map(|session| Record::of(&session)).collect()
    }

    /// Goes on with a session of another process, by a connection that is made from this runtime; false if `request` may not be in
    /// it. If that `is_successor`, it need not be told of it.
    ///
    /// # Errors
    ///
    /// If there is no place.
    pub(crate) fn adopt(
        &self,
        record: &Record,
        request: &McpRequest,
        is_successor: bool,
    ) -> Result<bool, UpstreamError> {
        let inner = &self.inner;
        let session = record.session(inner.options().profile);
        let Some(session) = session.filter(|session| self.may_be_in(request, session)) else { return Ok(false) };
        if self.has_session(session.id()) {
            return Ok(true);
        }
        let place = take_place(inner)?;
        session.give(is_successor);
        if inner.registry.insert_new(&session) {
            let ending = Ending::new(&session, &inner.registry, place);
            tokio::spawn(keep(Arc::clone(inner), session, Box::pin(ready(())), ending, Why::HandedOver));
        }
        Ok(true)
    }

    /// Whether `request` may be in the session that `record` is of, and so end it.
    pub(crate) fn may_end(&self, record: &Record, request: &McpRequest) -> bool {
        record.session(self.inner.options().profile).is_some_and(|session| self.may_be_in(request, &session))
    }

    /// Ends a session, if it is here.
    pub(crate) fn end(&self, id: SessionId) {
        if let Some(session) = self.inner.registry.peek(id) {
            self.inner.registry.remove(&session);
            session.end();
        }
    }

    fn may_be_in(&self, request: &McpRequest, session: &Session) -> bool {
        let came = || Came { head: Arc::clone(&request.head), until: request.now };
        session.is_of(&request.call) && (!self.inner.link.wants_heads() || session.admits(&came()))
    }
}
