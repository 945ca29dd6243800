//! What a message says that its headers have to say too.

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderName};
use mcp_guard::call::Method;
use mcp_guard::middleware::header_value;
use mcp_guard::middleware::headers::{METHOD, NAME, VERSION};
use mcp_guard::revision::Revision;
use mcp_guard::session::cancelled_id;
use serde::Deserialize;
use serde_json::value::RawValue;

/// What a client has said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Said {
    /// The request that begins a session.
    Initialize,
    /// The notification that ends its beginning.
    Initialized,
    /// Something that wants no answer.
    Told,
    /// The notification that the answer to the request with this id, as JSON text, is no longer wanted.
    Cancelled(Box<str>),
    /// Something that is answered, be it by what is wrong with it; its id, as JSON text, if it has one.
    Asked(Option<Box<str>>),
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uri: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "taskId")]
    task: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<Meta<'a>>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "io.modelcontextprotocol/protocolVersion")]
    version: Option<Cow<'a, str>>,
}

/// Reads a message as far as it has to be known here. For one of a revision without sessions, what its headers have to
/// repeat is put into `headers`.
pub(super) fn read(message: &[u8], headers: &mut HeaderMap) -> Said {
    // What is no such message is the guard's to refuse.
    let Ok(Message { id, method, params }) = serde_json::from_slice(message) else { return Said::Asked(None) };
    let Some(method) = method else { return Said::Told };
    let params_text = params;
    let params = params_text.and_then(|params| serde_json::from_str::<Params<'_>>(params.get()).ok());
    if let Some(params) = params {
        let version = params.meta.and_then(|meta| meta.version);
        if let Some(version) = version.filter(|v| Revision::parse(v).is_some_and(Revision::is_stateless)) {
            put(headers, VERSION, &version);
            put(headers, METHOD, &method);
            if let Some(name) = params.name.or(params.uri).or(params.task) {
                put(headers, NAME, &name);
            }
        }
    }
    match &*method {
        Method::INITIALIZE => Said::Initialize,
        Method::INITIALIZED => Said::Initialized,
        Method::CANCELLED if id.is_none() => {
            let cancelled = params_text.and_then(|params| cancelled_id(params.get()));
            cancelled.map_or(Said::Told, |id| Said::Cancelled(id.into()))
        }
        _ if id.is_none() => Said::Told,
        _ => Said::Asked(id.map(|id| id.get().into())),
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Some(value) = header_value(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    fn said(message: &str) -> (Said, HeaderMap) {
        let mut headers = HeaderMap::new();
        (read(message.as_bytes(), &mut headers), headers)
    }

    #[test]
    fn what_wants_an_answer_is_told_from_what_does_not() {
        for (message, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#, Said::Initialize),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, Said::Initialized),
            (r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#, Said::Told),
            (r#"{"method":"notifications/cancelled","params":{"requestId":"a"}}"#, Said::Cancelled(r#""a""#.into())),
            (r#"{"jsonrpc":"2.0","id":"asked","result":{}}"#, Said::Told),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, Said::Asked(Some("1".into()))),
            (r#"{"jsonrpc":"2.0","id":"1","method":"tools/call","params":[]}"#, Said::Asked(Some(r#""1""#.into()))),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Said::Asked(None)),
            ("GET / HTTP/1.1", Said::Asked(None)),
        ] {
            assert_eq!(said(message).0, expected, "{message}");
        }
    }

    #[test]
    fn headers_repeat_what_the_stateless_revision_wants_repeated() {
        let message = |version: &str| {
            let meta = format!(r#"{{"io.modelcontextprotocol/protocolVersion":"{version}"}}"#);
            format!(r#"{{"id":1,"method":"tools/call","params":{{"name":"gr\u00fc\u00dfe","_meta":{meta}}}}}"#)
        };
        let headers = said(&message("2026-07-28")).1;
        assert_eq!(
            (&headers[VERSION], &headers[METHOD]),
            (&HeaderValue::from_static("2026-07-28"), &HeaderValue::from_static("tools/call"))
        );
        assert_eq!(headers[NAME], "=?base64?Z3LDvMOfZQ==?=");
        assert!(said(&message("2025-11-25")).1.is_empty());
    }
}
