//! Sessions that go on in another process, and that come from one.

use std::future::ready;
use std::sync::Arc;

use mcp_guard::middleware::McpRequest;
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

    /// What another process has to know to go on with this session; `None` if there is none, or none that could. What is still
    /// said in it here is answered here.
    pub(crate) fn give(&self, id: SessionId) -> Option<Record> {
        let session = self.inner.registry.peek(id).filter(|_| self.inner.options().fails_over)?;
        let record = Record::of(&session)?;
        session.give();
        Some(record)
    }

    /// The same for all that were not given, and did not come from another.
    pub(crate) fn give_rest(&self) -> Vec<Record> {
        if !self.inner.options().fails_over {
            return Vec::new();
        }
        let rest = self.inner.registry.all().into_iter().filter(|session| !session.is_over() && !session.is_given());
        rest.filter_map(|session| Record::of(&session)).collect()
    }

    /// Goes on with a session of another process, by a connection that is made from this runtime, if `request` may be in it and
    /// there is a place; false if not.
    pub(crate) fn adopt(&self, record: &Record, request: &McpRequest) -> bool {
        let inner = &self.inner;
        let Some(session) = record.session(inner.options().profile).filter(|session| self.may_be_in(request, session))
        else {
            return false;
        };
        let Ok(place) = take_place(inner) else { return false };
        // It is the other's to pass on.
        session.give();
        if inner.registry.insert_new(&session) {
            let ending = Ending::new(&session, &inner.registry, place);
            tokio::spawn(keep(Arc::clone(inner), session, Box::pin(ready(())), ending, Why::HandedOver));
        }
        true
    }

    fn may_be_in(&self, request: &McpRequest, session: &Session) -> bool {
        let came = || Came { head: Arc::clone(&request.head), until: request.now };
        session.is_of(&request.call) && (!self.inner.link.wants_heads() || session.admits(&came()))
    }
}
