//! The headers of Streamable HTTP: their names, and what those say that more than one place asks.

use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue};

/// The session that a message belongs to.
pub const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// The revision that a message is written in.
pub const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The method of a message, from 2026-07-28 on.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// What the method is about, from 2026-07-28 on.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The event behind which a stream goes on.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The type of a stream of events.
pub const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Whether an answer with these headers is a stream of events.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let start = content_type.trim_ascii_start().get(..EVENT_STREAM.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM.as_bytes()))
}

/// Whether a body with these headers is compressed, and so cannot be read.
pub fn is_coded(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity")
}
