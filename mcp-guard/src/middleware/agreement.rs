//! Whether the headers of 2026-07-28 say what the body says (Streamable HTTP, "Standard request headers").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::fields::single;
use super::headers::{METHOD, NAME, VERSION};
use crate::call::{Call, Kind, Method};
use crate::refusal::{Reason, Refusal};

/// Compares `headers` with `call`. Older revisions know none of these headers, so there is nothing to compare.
pub(super) fn check(headers: &HeaderMap, call: &Call) -> Result<(), Refusal> {
    if !call.revision.is_stateless() || !matches!(call.kind, Kind::Request | Kind::Notification) {
        return Ok(());
    }
    if !headers.contains_key(VERSION) {
        return Err(missing(&VERSION));
    }
    agree(headers, &METHOD, Some(call.method.as_str()))?;
    let named = matches!(
        call.method.as_str(),
        Method::TOOLS_CALL | Method::PROMPTS_GET | Method::RESOURCES_READ | Method::TASKS_GET | Method::TASKS_CANCEL
    );
    // Without a name in the body the method's schema is what is broken, and its refusal says so better.
    if named && call.target.is_some() { agree(headers, &NAME, call.target.as_deref()) } else { Ok(()) }
}

fn agree(headers: &HeaderMap, name: &HeaderName, body: Option<&str>) -> Result<(), Refusal> {
    let value = single(headers, name)?.ok_or_else(|| missing(name))?;
    let text = header_text(value).ok_or_else(|| {
        Refusal::new(Reason::HeaderMismatch, format!("`{name}` is not valid")).with("header", name.as_str())
    })?;
    if Some(text.as_str()) == body {
        return Ok(());
    }
    Err(Refusal::new(Reason::HeaderMismatch, format!("`{name}` is not what the body says"))
        .with("header", name.as_str()))
}

fn missing(name: &HeaderName) -> Refusal {
    Refusal::new(Reason::HeaderMismatch, format!("`{name}` is missing")).with("header", name.as_str())
}

/// `text` as a header's value: `=?base64?…?=` where it is not plain ASCII. `None` if it is too long for one.
#[must_use]
pub fn header_value(text: &str) -> Option<HeaderValue> {
    let is_plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if is_plain && text.trim() == text && !text.starts_with("=?") {
        return HeaderValue::try_from(text).ok();
    }
    HeaderValue::try_from(format!("=?base64?{}?=", STANDARD.encode(text))).ok()
}

/// The text of a header, which is `=?base64?…?=` where it is not plain ASCII; `None` if it is neither.
#[must_use]
pub fn header_text(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.trim();
    match text.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::Revision;

    fn call() -> Call {
        let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), Revision::V2026_07_28);
        call.target = Some("grüße".into());
        call
    }

    fn reason(headers: &[(&'static str, &'static str)], call: &Call) -> Option<Reason> {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        check(&headers.collect(), call).err().map(|refusal| refusal.reason())
    }

    const VERSIONED: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

    #[test]
    fn method_and_name_must_be_those_of_the_body() {
        let name = ("mcp-name", "=?base64?Z3LDvMOfZQ==?=");
        assert_eq!(reason(&[VERSIONED, ("mcp-method", "tools/call"), name], &call()), None);
        assert_eq!(reason(&[VERSIONED, ("mcp-method", "tools/list"), name], &call()), Some(Reason::HeaderMismatch));
        assert_eq!(reason(&[VERSIONED, ("mcp-method", "tools/call")], &call()), Some(Reason::HeaderMismatch));
        assert_eq!(reason(&[("mcp-method", "tools/call"), name], &call()), Some(Reason::HeaderMismatch));
        assert_eq!(
            reason(&[VERSIONED, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?!?=")], &call()),
            Some(Reason::HeaderMismatch)
        );
    }

    #[test]
    fn what_is_said_in_a_header_is_read_again() {
        for text in ["add", "grüße", " padded ", "=?base64?YQ==?=", "a\nb", ""] {
            assert_eq!(header_text(&header_value(text).unwrap()).as_deref(), Some(text));
        }
    }

    #[test]
    fn older_revisions_know_no_such_headers() {
        let older = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), Revision::V2025_11_25);
        assert_eq!(reason(&[("mcp-method", "tools/list")], &older), None);
    }
}
