//! Heads of messages (RFC 9112, sections 2 to 6).

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use httparse::{Header, ParserConfig, Status};

use super::{Framing, Http1Error};

/// The largest head of a message that is read: more than the guard lets through ([`limits`](mcp_guard::limits)), so that its answer says why.
pub(crate) const HEAD_BYTES_MAX: usize = 128 * 1024;

/// The most header fields that are read: more than the guard lets through, so that its refusal says why.
const FIELDS_READ_MAX: usize = 128;

/// The head of a request.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) request: Request<()>,
    pub(super) framing: Framing,
    /// Whether the client wants to go on with this connection.
    pub(super) is_kept: bool,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) response: Response<()>,
    pub(crate) framing: Framing,
    /// Whether the server goes on with this connection.
    pub(crate) is_kept: bool,
}

/// Takes the head of a request out of `unread`; `None` if it has not come whole.
///
/// # Errors
///
/// If it is none, or its body could be taken to end in two places.
pub(super) fn request(unread: &mut Bytes) -> Result<Option<RequestHead>, Http1Error> {
    // Before a request they mean nothing (RFC 9112, section 2.2), and kept they would be read again with each byte.
    let blank = unread.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    unread.advance(blank);
    let mut fields = [MaybeUninit::<Header<'_>>::uninit(); FIELDS_READ_MAX];
    let mut head = httparse::Request::new(&mut []);
    let all = unread.clone();
    let length = match head.parse_with_uninit_headers(&all, &mut fields).map_err(malformed)? {
        Status::Complete(length) => length,
        Status::Partial => return Ok(None),
    };
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else { return Ok(None) };
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| Http1Error::Malformed("its method"))?;
    *request.uri_mut() =
        Uri::from_maybe_shared(all.slice_ref(target.as_bytes())).map_err(|_| Http1Error::Malformed("its target"))?;
    *request.version_mut() = if version == 1 { Version::HTTP_11 } else { Version::HTTP_10 };
    *request.headers_mut() = headers(&all, head.headers)?;
    let framing = request_framing(request.headers(), request.version())?;
    let is_kept = is_kept(request.headers(), request.version());
    // Also where nothing follows: what is left of a buffer keeps it.
    *unread = if length == all.len() { Bytes::new() } else { all.slice(length..) };
    Ok(Some(RequestHead { request, framing, is_kept }))
}

/// Takes the head of an answer out of `unread`; `None` if it has not come whole. Interim answers are passed over.
///
/// # Errors
///
/// If it is none.
pub(crate) fn response(unread: &mut Bytes) -> Result<Option<ResponseHead>, Http1Error> {
    loop {
        let mut fields = [MaybeUninit::<Header<'_>>::uninit(); FIELDS_READ_MAX];
        let mut head = httparse::Response::new(&mut []);
        let all = unread.clone();
        let parser = ParserConfig::default();
        let parsed = parser.parse_response_with_uninit_headers(&mut head, &all, &mut fields).map_err(malformed)?;
        let Status::Complete(length) = parsed else { return Ok(None) };
        let (Some(code), Some(version)) = (head.code, head.version) else { return Ok(None) };
        let status = StatusCode::from_u16(code).map_err(|_| Http1Error::Malformed("its status"))?;
        *unread = if length == all.len() { Bytes::new() } else { all.slice(length..) };
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Http1Error::Malformed("it switches protocols, unasked"));
        }
        if status.is_informational() {
            continue;
        }
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = if version == 1 { Version::HTTP_11 } else { Version::HTTP_10 };
        *response.headers_mut() = headers(&all, head.headers)?;
        let (framing, is_framed_once) = response_framing(status, response.headers())?;
        let is_kept = framing != Framing::UntilClose && is_framed_once;
        let is_kept = is_kept && self::is_kept(response.headers(), response.version());
        return Ok(Some(ResponseHead { response, framing, is_kept }));
    }
}

fn malformed(error: httparse::Error) -> Http1Error {
    match error {
        httparse::Error::HeaderName => Http1Error::Malformed("the name of a field"),
        httparse::Error::HeaderValue => Http1Error::Malformed("the value of a field"),
        httparse::Error::NewLine => Http1Error::Malformed("a line end"),
        httparse::Error::Status => Http1Error::Malformed("its status"),
        httparse::Error::Token => Http1Error::Malformed("its first line"),
        httparse::Error::TooManyHeaders => Http1Error::HeadTooLarge,
        httparse::Error::Version => Http1Error::Malformed("its version"),
    }
}

/// The fields, which keep the buffer that they came in.
fn headers(all: &Bytes, fields: &[Header<'_>]) -> Result<HeaderMap, Http1Error> {
    let mut headers = HeaderMap::with_capacity(fields.len() + ADDED);
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let name = name.map_err(|_| Http1Error::Malformed("the name of a field"))?;
        let value = HeaderValue::from_maybe_shared(all.slice_ref(field.value));
        headers.append(name, value.map_err(|_| Http1Error::Malformed("the value of a field"))?);
    }
    Ok(headers)
}

/// Room for the fields that are put in on the way.
const ADDED: usize = 2;

/// RFC 9112, section 6.3, where what is doubtful is refused.
fn request_framing(headers: &HeaderMap, version: Version) -> Result<Framing, Http1Error> {
    let length = match content_length(headers)? {
        Some((_, false)) => return Err(Http1Error::Malformed("`Content-Length` is given twice")),
        Some((length, true)) => Some(length),
        None => None,
    };
    let Some(is_chunked) = is_chunked(headers) else { return Ok(Framing::Length(length.unwrap_or(0))) };
    if length.is_some() {
        return Err(Http1Error::Malformed("`Content-Length` and `Transfer-Encoding` exclude each other"));
    }
    if !is_chunked || version < Version::HTTP_11 {
        return Err(Http1Error::Malformed("`Transfer-Encoding` must be `chunked`, in HTTP/1.1"));
    }
    Ok(Framing::Chunked)
}

/// The same for an answer, and whether it is framed only once: else its connection is not used again.
fn response_framing(status: StatusCode, headers: &HeaderMap) -> Result<(Framing, bool), Http1Error> {
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        return Ok((Framing::Length(0), true));
    }
    let length = content_length(headers)?;
    match is_chunked(headers) {
        Some(true) => Ok((Framing::Chunked, length.is_none())),
        Some(false) => Err(Http1Error::Malformed("`Transfer-Encoding` must be `chunked`")),
        None => Ok(length.map_or((Framing::UntilClose, true), |(length, is_once)| (Framing::Length(length), is_once))),
    }
}

/// The length, and whether it is given once. Different ones are none.
fn content_length(headers: &HeaderMap) -> Result<Option<(u64, bool)>, Http1Error> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let is_number = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    let mut is_once = true;
    let are_equal = values.all(|other| {
        is_once = false;
        other == value
    });
    let length = value.to_str().ok().filter(|_| is_number && are_equal);
    let length =
        length.and_then(|text| text.parse().ok()).ok_or(Http1Error::Malformed("`Content-Length` is no number"))?;
    Ok(Some((length, is_once)))
}

/// Whether the only coding is `chunked`; `None` without any.
fn is_chunked(headers: &HeaderMap) -> Option<bool> {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    let value = values.next()?;
    Some(value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") && values.next().is_none())
}

/// RFC 9112, section 9.3.
fn is_kept(headers: &HeaderMap, version: Version) -> bool {
    let names = |option: &str| {
        let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case(option))
    };
    if version < Version::HTTP_11 { names("keep-alive") && !names("close") } else { !names("close") }
}
