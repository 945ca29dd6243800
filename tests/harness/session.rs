//! A client of 2025-11-25 with a session.

use serde_json::json;

use crate::{Guard, Reply, request, send, send_to};

/// A session with the node behind a guard.
#[derive(Debug)]
pub struct Session<'a> {
    guard: &'a Guard,
    id: String,
}

impl<'a> Session<'a> {
    /// Opens a session.
    ///
    /// # Panics
    ///
    /// If the node does not open one.
    pub fn open(guard: &'a Guard) -> Self {
        let client = json!({"name": "test", "version": "0"});
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let reply = send(guard.listen, &[], request(0, "initialize", params).to_string());
        let id = reply.header("mcp-session-id").unwrap_or_else(|| panic!("no session: {}", reply.text())).to_owned();
        let session = Self { guard, id };
        let done = session.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert_eq!(done.status, 202, "{}", done.text());
        session
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sends a request.
    pub fn ask(&self, id: i64, method: &str, params: serde_json::Value) -> Reply {
        self.post(request(id, method, params).to_string())
    }

    /// Sends a message.
    pub fn post(&self, body: impl AsRef<[u8]>) -> Reply {
        send(self.guard.listen, &[("mcp-session-id", &self.id)], body)
    }

    /// Ends it.
    pub fn end(self) {
        send_to(self.guard.listen, "DELETE", "/mcp", &[("mcp-session-id", &self.id)], "");
    }
}
