//! What a line of the node is.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::limits::ID_BYTES_MAX;

/// A message of the node, as much of it as says where it belongs. `result` and `error` stay unread.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "JSON-RPC knows no fourth form")]
pub enum FromNode<'a> {
    /// The answer to a request of the client's.
    Response {
        /// The id that it answers, as JSON text.
        id: &'a str,
        /// Whether it is an error.
        is_error: bool,
    },
    /// Asks the client something.
    Request {
        /// Its id, as JSON text.
        id: &'a str,
        /// Its method, as JSON text.
        method: &'a str,
    },
    /// Tells the client something.
    Notification {
        /// Its method, as JSON text.
        method: &'a str,
        /// `params.progressToken` as JSON text: which request it is about.
        progress_token: Option<&'a str>,
        /// `params.requestId` as JSON text: which request of its own the node takes back.
        cancelled: Option<&'a str>,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "requestId")]
    request_id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

impl<'a> FromNode<'a> {
    /// Whether `message` is a response with a result.
    #[must_use]
    pub fn is_result(message: &'a [u8]) -> bool {
        matches!(Self::read(message), Some(Self::Response { is_error: false, .. }))
    }

    /// Reads `line`; `None` if it is no JSON-RPC message.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        // Members of an array would be taken for those of an object, by their order.
        if !line.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let envelope: Envelope<'a> = serde_json::from_slice(line).ok()?;
        let id = envelope.id.map(RawValue::get).filter(|id| id.len() <= ID_BYTES_MAX);
        let Some(method) = envelope.method.map(RawValue::get) else {
            return Some(Self::Response { id: id?, is_error: envelope.error.is_some() });
        };
        if !method.starts_with('"') {
            return None;
        }
        if let Some(id) = id {
            return Some(Self::Request { id, method });
        }
        let params = envelope.params.map(RawValue::get).and_then(params).unwrap_or_default();
        let cancels = method == "\"notifications/cancelled\"";
        Some(Self::Notification {
            method,
            progress_token: params.progress_token.and_then(short),
            cancelled: params.request_id.filter(|_| cancels).and_then(short),
        })
    }
}

/// The token by which the client wants to hear of progress: `_meta.progressToken` of its `params`, as JSON text.
pub fn progress_token(client_params: &str) -> Option<&str> {
    // Most requests have none, and looking for the word is faster than reading.
    if !client_params.contains("progressToken") {
        return None;
    }
    let meta = params(client_params)?.meta?;
    params(meta.get())?.progress_token.and_then(short)
}

/// The request that the client takes back: `requestId` of the `params` of `notifications/cancelled`, as JSON text.
pub fn cancelled_id(client_params: &str) -> Option<&str> {
    params(client_params)?.request_id.and_then(short)
}

/// What two spellings of one id have in common: `"a\u0062"` and `"ab"` are the same string.
pub(super) fn key(id: &str) -> Cow<'_, str> {
    if !id.contains('\\') {
        return Cow::Borrowed(id);
    }
    let spelled = serde_json::from_str::<String>(id).and_then(|text| serde_json::to_string(&text));
    spelled.map_or(Cow::Borrowed(id), Cow::Owned)
}

/// What an object says; an array says nothing by name.
fn params(text: &str) -> Option<Params<'_>> {
    if text.trim_start().starts_with('{') { serde_json::from_str(text).ok() } else { None }
}

fn short(raw: &RawValue) -> Option<&str> {
    Some(raw.get()).filter(|text| text.len() <= ID_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_by_their_members() {
        let read = |text: &'static str| FromNode::read(text.as_bytes());
        assert!(matches!(read(r#"{"id":1,"result":{}}"#), Some(FromNode::Response { id: "1", is_error: false })));
        assert!(matches!(read(r#"{"id":"1","error":{}}"#), Some(FromNode::Response { id: "\"1\"", is_error: true })));
        assert!(matches!(read(r#"{"id":1,"method":"ping"}"#), Some(FromNode::Request { id: "1", method: "\"ping\"" })));
        let progress = read(r#"{"method":"notifications/progress","params":{"progressToken":7}}"#);
        assert!(matches!(progress, Some(FromNode::Notification { progress_token: Some("7"), cancelled: None, .. })));
        let cancelled = read(r#"{"method":"notifications/cancelled","params":{"requestId":"x"}}"#);
        assert!(matches!(cancelled, Some(FromNode::Notification { cancelled: Some("\"x\""), .. })));
    }

    #[test]
    fn only_a_response_with_a_result_is_one() {
        let is_result = |text: &str| FromNode::is_result(text.as_bytes());
        assert!(is_result(r#"{"id":1,"result":{}}"#));
        for text in [r#"{"id":1,"error":{}}"#, r#"{"id":1,"method":"ping"}"#, r#"{"method":"ping"}"#, "[]"] {
            assert!(!is_result(text), "{text}");
        }
    }

    #[test]
    fn what_is_no_message_is_none() {
        for text in ["", "listening on stdio", "[]", "7", "{}", r#"{"error":{}}"#, r#"{"method":7}"#] {
            assert!(FromNode::read(text.as_bytes()).is_none(), "{text}");
        }
        assert!(FromNode::read(b"\xff").is_none());
    }

    /// Members used to be found by their places, too: `[7]` was the answer to request 7.
    #[test]
    fn an_array_is_neither_a_message_nor_params() {
        for text in ["[7]", " [7, \"ping\"]", "[null, \"notifications/progress\", {\"progressToken\": 1}]"] {
            assert!(FromNode::read(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(cancelled_id(r#"["a", 7]"#), None);
        assert_eq!(cancelled_id(r#" {"requestId": 7}"#), Some("7"));
        assert_eq!(progress_token(r#"[null, null, {"progressToken": 1}]"#), None);
        let by_place = r#"{"method":"notifications/cancelled","params":["a", 7]}"#;
        assert!(matches!(FromNode::read(by_place.as_bytes()), Some(FromNode::Notification { cancelled: None, .. })));
    }

    #[test]
    fn a_clients_token_is_found_where_the_protocol_puts_it() {
        assert_eq!(progress_token(r#"{"_meta":{"progressToken":"a"},"name":"x"}"#), Some("\"a\""));
        assert_eq!(progress_token(r#"{"progressToken":"a"}"#), None);
        assert_eq!(progress_token(r#"{"name":"x"}"#), None);
    }

    #[test]
    fn spellings_of_one_id_have_one_key() {
        assert_eq!(key(r#""a\u0062\u00e9""#), key(r#""abé""#));
        assert_eq!(key("7"), "7");
        assert_ne!(key("7"), key("\"7\""));
    }
}
