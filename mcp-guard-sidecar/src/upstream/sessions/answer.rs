//! How answers look on the wire.

use http::header::{self, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use mcp_guard::middleware::headers::SESSION;
use mcp_guard::session::SessionId;

use super::body::SessionBody;

/// A JSON message.
pub(super) fn json(body: SessionBody) -> Response<SessionBody> {
    with_type(body, "application/json")
}

/// The answer to `initialize`, with the session that begins.
pub(super) fn opened(body: SessionBody, session: SessionId) -> Response<SessionBody> {
    let mut response = json(body);
    if let Ok(id) = HeaderValue::try_from(session.to_string()) {
        response.headers_mut().insert(SESSION, id);
    }
    response
}

/// A stream of events.
pub(super) fn events(body: SessionBody) -> Response<SessionBody> {
    let mut response = with_type(body, "text/event-stream");
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A status without a body.
pub(super) fn empty(status: StatusCode) -> Response<SessionBody> {
    let mut response = Response::new(SessionBody::whole(bytes::Bytes::new()));
    *response.status_mut() = status;
    response
}

/// Whether the client takes a stream for an answer, as the protocol requires of it.
pub(super) fn accepts_events(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    values.peek().is_none()
        || values.flat_map(|value| value.split(',')).any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim();
            ["text/event-stream", "text/*", "*/*"].iter().any(|wanted| range.eq_ignore_ascii_case(wanted))
        })
}

fn with_type(body: SessionBody, content_type: &'static str) -> Response<SessionBody> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
