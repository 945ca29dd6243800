//! A session as another process goes on with it: what it needs to have another connection restored there.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderName;
use mcp_guard::call::Method;
use mcp_guard::session::{Memory, SessionId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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
    /// That of a session of which `memory` is known, if another connection could take it over.
    pub(crate) fn new(
        id: SessionId,
        subject: Option<&str>,
        credentials: &[HeaderName],
        memory: &Memory,
    ) -> Option<Self> {
        let said = std::iter::once(memory.initialize()?).chain(memory.state());
        let said = said.map(|line| String::from_utf8(line.to_vec()).ok()).collect::<Option<_>>()?;
        let credentials = credentials.iter().map(ToString::to_string).collect();
        Some(Self { id: id.to_string(), subject: subject.map(Box::from), credentials, said })
    }

    /// What the session is called; `None` if no guard would call one so.
    pub(crate) fn id(&self) -> Option<SessionId> {
        SessionId::parse(&self.id)
    }

    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    pub(crate) fn credentials(&self) -> Vec<HeaderName> {
        self.credentials.iter().filter_map(|name| name.parse().ok()).collect()
    }

    /// What a node has to be told; `None` if no node could take the session over.
    pub(crate) fn memory(&self) -> Option<Memory> {
        let mut memory = Memory::default();
        self.said.iter().for_each(|line| note(&mut memory, line));
        memory.initialize()?;
        Some(memory)
    }
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// Notes what `line` says, as when a node has granted it.
pub(super) fn note(memory: &mut Memory, line: &str) {
    if let Ok(Said { method, params }) = serde_json::from_str(line) {
        memory.note(&Method::new(&method), params.map(RawValue::get), &Bytes::copy_from_slice(line.as_bytes()));
    }
}
