//! The work: a small `tools/call` of a tool that answers with its text, in about 300 bytes each way.

use std::net::SocketAddr;
use std::ops::Range;

use crate::client::Target;

/// The tool's name.
pub(crate) const TOOL: &str = "echo";

/// The schema that calls of it are held to.
pub(crate) const INPUT_SCHEMA: &str = r#"{"type":"object","properties":{"text":{"type":"string","maxLength":4096},"times":{"type":"integer","minimum":1,"maximum":10},"tags":{"type":"array","items":{"type":"string"},"maxItems":8}},"required":["text"],"additionalProperties":false}"#;

const TEXT: &str = "The quick brown fox jumps over the lazy dog, and the lazy dog lets it; then both of them sit down under \
                    the tree, look at the river, and say nothing at all for quite a while, since all is said by now.";

/// Ids are of one length, so that a call is made by writing its id into a request that is there already.
const ID_DIGITS: usize = 10;

/// One connection's calls, each with an id that no other call of the run has.
pub(crate) struct Calls {
    request: Vec<u8>,
    id: Range<usize>,
    next: u64,
}

impl Calls {
    /// Calls over connection `connection` to `target`, in the session called `session`.
    pub(crate) fn new(target: Target, session: &str, connection: usize) -> Self {
        // A million calls a connection, and room for all that a process could open.
        let next = 1_000_000_000 + connection as u64 * 1_000_000;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{next},"method":"tools/call","params":{{"name":"{}","arguments":{{"text":"{TEXT}","times":1,"tags":["a","b"]}}}}}}"#,
            target.tool
        );
        let request = post(target, Some(session), &body);
        let start = request.len() - body.len() + r#"{"jsonrpc":"2.0","id":"#.len();
        Self { request: request.into_bytes(), id: start..start + ID_DIGITS, next }
    }

    /// The next request, and the id in it.
    pub(crate) fn next(&mut self) -> (&[u8], u64) {
        let id = self.next;
        self.next += 1;
        if let Some(place) = self.request.get_mut(self.id.clone()) {
            place.copy_from_slice(id.to_string().as_bytes());
        }
        (&self.request, id)
    }
}

/// What the node answers to the call with this id, byte for byte.
pub(crate) fn answer(id: &str, text: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#
    )
}

/// Whether `body` is the answer to the call with this id.
pub(crate) fn is_answer(body: &[u8], id: u64) -> bool {
    body == answer(&id.to_string(), TEXT).as_bytes()
}

/// Whether `body` answers the call with this id, in whatever form.
pub(crate) fn is_like_answer(body: &[u8], id: u64) -> bool {
    let body = String::from_utf8_lossy(body);
    body.contains(&id.to_string()) && body.contains(TEXT)
}

/// The request that opens a session.
pub(crate) fn initialize(target: Target) -> String {
    let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#;
    post(target, None, body)
}

/// The notification that a session is open.
pub(crate) fn initialized(target: Target, session: &str) -> String {
    post(target, Some(session), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
}

/// A call that breaks the tool's schema, after which the connection is closed.
pub(crate) fn wrong_call(address: SocketAddr) -> String {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{TOOL}","arguments":{{"text":7}}}}}}"#
    );
    post(Target::new(address), Some("wrong"), &body).replacen("user-agent: load", "connection: close", 1)
}

/// A call whose body has `bytes` bytes, most of them in a tag.
pub(crate) fn large_call(target: Target, session: &str, bytes: usize) -> String {
    let tool = target.tool;
    let start = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"text":"large","tags":[""#
    );
    let end = r#""]}}}"#;
    let filler = "x".repeat(bytes.saturating_sub(start.len() + end.len()));
    post(target, Some(session), &format!("{start}{filler}{end}"))
}

/// The request for a stream to listen on.
pub(crate) fn listen(target: Target, session: &str) -> String {
    let Target { address, path, .. } = target;
    format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: load\r\naccept: text/event-stream\r\n\
         mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n\r\n"
    )
}

/// A message with the headers that an SDK sends.
fn post(Target { address, path, .. }: Target, session: Option<&str>, body: &str) -> String {
    let session = session
        .map(|session| format!("mcp-session-id: {session}\r\nmcp-protocol-version: 2025-11-25\r\n"))
        .unwrap_or_default();
    format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nuser-agent: load\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n{session}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target::new(SocketAddr::from(([127, 0, 0, 1], 80)))
    }

    #[test]
    fn a_large_call_is_as_large_as_asked_and_still_json() {
        let request = large_call(target(), "s", 5000);
        let body = request.split_once("\r\n\r\n").unwrap().1;
        assert_eq!(body.len(), 5000);
        assert!(serde_json::from_str::<serde_json::Value>(body).unwrap().is_object());
    }

    #[test]
    fn each_call_has_its_own_id_in_a_request_of_one_length() {
        let mut calls = Calls::new(target(), "s", 3);
        let (first, id) = calls.next();
        let (first, first_id) = (first.to_vec(), id);
        let (second, second_id) = calls.next();
        assert_eq!((first.len(), first_id + 1), (second.len(), second_id));
        assert!(String::from_utf8_lossy(second).contains(&format!(r#""id":{second_id},"#)));
    }
}
