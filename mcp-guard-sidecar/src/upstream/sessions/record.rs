//! A session as another process goes on with it: what it needs to have another connection restored there.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use mcp_guard::call::Method;
use mcp_guard::session::{Memory, Profile, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::session::Session;

/// What is known of a session. It is a secret: whoever has it can speak in the session.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Record {
    id: String,
    subject: Option<Box<str>>,
    /// The kinds of credentials with which it was opened.
    credentials: Vec<String>,
    /// What a node has to be told: the client's `initialize`, then what gave the session a state.
    said: Vec<String>,
}

impl Record {
    /// That of `session`, if another connection could take it over.
    pub(super) fn of(session: &Session) -> Option<Self> {
        let memory = session.memory();
        let said = std::iter::once(memory.initialize()?).chain(memory.state());
        let said = said.map(|line| String::from_utf8(line.to_vec()).ok()).collect::<Option<_>>()?;
        let credentials = session.credentials().iter().map(ToString::to_string).collect();
        Some(Self { id: session.id().to_string(), subject: session.subject().map(Box::from), credentials, said })
    }

    /// What the session is called; `None` if no guard would call one so.
    pub(crate) fn id(&self) -> Option<SessionId> {
        SessionId::parse(&self.id)
    }

    /// The session, without a connection; `None` if it is none.
    pub(super) fn session(&self, profile: Profile) -> Option<Arc<Session>> {
        let session = Session::new(self.id()?, profile, self.subject.clone());
        session
            .set_credentials(self.credentials.iter().filter_map(|name| name.parse().ok()).collect::<Vec<HeaderName>>());
        let mut memory = session.memory();
        self.said.iter().for_each(|line| note(&mut memory, line));
        memory.initialize()?;
        drop(memory);
        Some(session)
    }
}

#[derive(Deserialize)]
struct Said<'a> {
    method: &'a str,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

fn note(memory: &mut Memory, line: &str) {
    if let Ok(Said { method, params }) = serde_json::from_str(line) {
        memory.note(&Method::new(method), params.map(RawValue::get), &Bytes::copy_from_slice(line.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_comes_out_as_it_went_in() {
        let session = Session::new(SessionId::from_bits(7), Profile::Standard, Some("ada".into()));
        assert!(Record::of(&session).is_none(), "no node could take it over");
        let lines = [
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"capabilities":{}}}"#,
            r#"{"jsonrpc":"2.0","id":2,"method":"logging/setLevel","params":{"level":"debug"}}"#,
            r#"{"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"a"}}"#,
        ];
        lines.iter().for_each(|line| note(&mut session.memory(), line));
        session.set_credentials(vec![HeaderName::from_static("x-api-key")]);
        let text = serde_json::to_string(&Record::of(&session).unwrap()).unwrap();
        let record: Record = serde_json::from_str(&text).unwrap();
        let again = record.session(Profile::Standard).unwrap();
        assert_eq!((again.id(), again.subject()), (session.id(), Some("ada")));
        assert_eq!(again.credentials(), ["x-api-key"]);
        assert_eq!(again.memory().initialize().unwrap(), lines[0]);
        assert!(again.memory().state().eq(lines[1..].iter()));
    }
}
