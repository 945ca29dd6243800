//! Sessions that go on in another process, and that come from one.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use mcp_guard::middleware::{McpRequest, UpstreamError};
use mcp_guard::session::{Profile, SessionId};

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
        let record = record_of(&session)?;
        session.give(is_successor);
        Some(record)
    }

    /// The same for all that the successor does not have.
    pub(crate) fn give_rest(&self) -> Vec<Record> {
        if !self.inner.options().fails_over {
            return Vec::new();
        }
        let rest = self.inner.registry.all().into_iter().filter(|session| !session.is_over() && !session.is_given());
        rest.filter_map(|session| record_of(&session)).collect()
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
        let session = session_of(record, inner.options().profile);
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
        let session = session_of(record, self.inner.options().profile);
        session.is_some_and(|session| self.may_be_in(request, &session))
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

/// What is known of `session`, if another connection could take it over.
fn record_of(session: &Session) -> Option<Record> {
    Record::new(session.id(), session.subject(), session.credentials(), &session.memory())
}

/// The session that `record` is of, without a connection; `None` if it is of none.
fn session_of(record: &Record, profile: Profile) -> Option<Arc<Session>> {
    let session = Session::new(record.id()?, profile, record.subject().map(Box::from));
    session.set_credentials(record.credentials());
    *session.memory() = record.memory()?;
    Some(session)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::super::record::note;
    use super::*;

    #[test]
    fn a_session_comes_out_as_it_went_in() {
        let session = Session::new(SessionId::from_bits(7), Profile::Standard, Some("ada".into()));
        assert!(record_of(&session).is_none(), "no node could take it over");
        let lines = [
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{}}}"#,
            // As some libraries write a slash.
            r#"{"jsonrpc":"2.0","id":2,"method":"logging\/setLevel","params":{"level":"debug"}}"#,
            r#"{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"a"}}"#,
        ];
        lines.iter().for_each(|line| note(&mut session.memory(), line));
        session.set_credentials(vec![HeaderName::from_static("x-api-key")]);
        let text = serde_json::to_string(&record_of(&session).unwrap()).unwrap();
        let record: Record = serde_json::from_str(&text).unwrap();
        let again = session_of(&record, Profile::Standard).unwrap();
        assert_eq!((again.id(), again.subject()), (session.id(), Some("ada")));
        assert_eq!(again.credentials(), ["x-api-key"]);
        assert_eq!(again.memory().initialize().unwrap(), lines[0]);
        assert!(again.memory().state().eq(lines[1..].iter()));
    }
}
