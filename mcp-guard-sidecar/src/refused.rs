//! Refusals of the host's own, before or beside the stack: the library's table, as an HTTP response.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use mcp_guard::refusal::Refusal;

/// The response to a request whose body was not read.
pub(crate) fn response(refusal: &Refusal) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(refusal.body(None).unwrap_or_default()));
    *response.status_mut() = StatusCode::from_u16(refusal.status(None)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = refusal.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
