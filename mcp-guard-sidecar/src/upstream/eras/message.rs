//! What the guard itself says to a node.

use std::ops::Range;

use bytes::Bytes;
use mcp_guard::call::{Kind, Method};

use super::object::quote;

/// A message for a node, with what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) method: Method,
    /// The id of a request or response, as JSON text.
    pub(crate) id: Option<Box<str>>,
    pub(crate) params: Option<Range<usize>>,
    pub(crate) body: Bytes,
}

impl Message {
    /// A request; `id` and `params` are JSON text.
    pub(crate) fn request(id: &str, method: &str, params: &str) -> Self {
        let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{},"params":"#, quote(method));
        Self { id: Some(id.into()), ..Self::with_params(Kind::Request, method, start, params) }
    }

    /// A notification; `params` is JSON text.
    pub(crate) fn notification(method: &str, params: &str) -> Self {
        let start = format!(r#"{{"jsonrpc":"2.0","method":{},"params":"#, quote(method));
        Self::with_params(Kind::Notification, method, start, params)
    }

    fn with_params(kind: Kind, method: &str, start: String, params: &str) -> Self {
        let range = start.len()..start.len() + params.len();
        let body = Bytes::from(start + params + "}");
        Self { kind, method: Method::new(method), id: None, params: Some(range), body }
    }

    /// The answer to a request of the node's; all are JSON text.
    pub(crate) fn response(id: &str, member: &str, value: &str) -> Self {
        let body = response(id, member, value);
        Self { kind: Kind::Response, method: Method::NONE, id: Some(id.into()), params: None, body }
    }

    /// One that is there already, as the client has said it.
    pub(crate) fn of(kind: Kind, method: &str, id: Option<&str>, body: Bytes) -> Self {
        let method = if method.is_empty() { Method::NONE } else { Method::new(method) };
        Self { kind, method, id: id.map(Box::from), params: None, body }
    }

    /// The end of a session.
    pub(crate) fn end() -> Self {
        Self::bare(Kind::End)
    }

    /// Asks for the stream of what the node says of its own accord.
    pub(crate) fn listen() -> Self {
        Self::bare(Kind::Listen)
    }

    fn bare(kind: Kind) -> Self {
        Self { kind, method: Method::NONE, id: None, params: None, body: Bytes::new() }
    }
}

/// A response: `member` is `result` or `error`, `id` and `value` are JSON text.
pub(crate) fn response(id: &str, member: &str, value: &str) -> Bytes {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"{member}":{value}}}"#).into()
}

/// An error, as JSON text.
pub(crate) fn error(code: i64, message: &str) -> String {
    format!(r#"{{"code":{code},"message":{}}}"#, quote(message))
}

/// JSON-RPC 2.0, section 5.1.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
pub(crate) const INVALID_PARAMS: i64 = -32602;
pub(crate) const INTERNAL_ERROR: i64 = -32603;
