//! What names a session, a revision, a method or a request is read in one way only, and what is written so is read again.

use std::collections::BTreeSet;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header};
use serde_json::Value;

use super::edge::EdgePolicy;
use super::{agreement, headers};
use crate::call::{Call, Kind, Method};
use crate::limits::{HEADER_BYTES_MAX, HEADERS_BYTES_MAX, HEADERS_MAX, ID_BYTES_MAX, SESSION_BYTES_MAX};
use crate::refusal::Reason;
use crate::revision::Revision;
use crate::session::{FromNode, SessionId, cancelled_id, progress_token};

const METHODS: [&str; 6] = ["POST", "POST", "POST", "GET", "DELETE", "PUT"];
const TARGETS: [&str; 4] = ["/mcp", "http://here:8080/mcp", "/other", "http://elsewhere/mcp"];
const CALLED: [(&str, bool); 8] = [
    ("tools/call", true),
    ("prompts/get", true),
    ("resources/read", true),
    ("tasks/get", true),
    ("tasks/cancel", true),
    ("tools/list", false),
    ("vendor/grüße", false),
    ("completion/complete", false),
];

const FIELDS: [&str; 14] = [
    "host",
    "origin",
    "content-type",
    "content-length",
    "content-encoding",
    "transfer-encoding",
    "accept",
    "mcp-session-id",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
    "last-event-id",
    "x-any",
    "cookie",
];

const VALUES: [&str; 15] = [
    "here:8080",
    "application/json",
    "text/event-stream",
    "application/json; charset=utf-8",
    "*/*",
    "2026-07-28",
    "2025-11-25",
    "0123456789ABCDEF0123456789ABCDEF",
    "identity",
    "http://friend",
    "http://here:8080",
    "tools/call",
    "tools/list",
    "=?base64?YWRk?=",
    "add",
];

/// Those that are given once, if at all.
const ONCE: [HeaderName; 6] =
    [header::HOST, header::ORIGIN, header::CONTENT_TYPE, header::CONTENT_LENGTH, headers::SESSION, headers::VERSION];

/// Takes two bytes as what kind of request it is, a line as a name, a line for each header, and the rest as what a node says.
pub(crate) fn check(data: &[u8]) {
    let Some(([what, how], rest)) = data.split_first_chunk::<2>() else { return };
    let (head, body) = split(rest, b"\n\n").unwrap_or((rest, &[]));
    let mut lines = head.split(|byte| *byte == b'\n');
    let name = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let mut parts = Request::new(()).into_parts().0;
    parts.method = METHODS[usize::from(what % 6)].parse().expect("a method");
    parts.uri = Uri::from_static(TARGETS[usize::from(what / 8 % 4)]);
    // Some say the same again and again.
    let times = [1, 1, 1, 2, 96, 97][usize::from(how % 6)];
    for (name, value) in lines.filter_map(field) {
        parts.headers.try_append(&name, value.clone()).expect("there is room");
        for _ in 1..if name.as_str().starts_with("x-") { times } else { 1 } {
            parts.headers.try_append(&name, value.clone()).expect("there is room");
        }
        one_reading(&value);
    }
    written_and_read(&name);
    admitted(&parts);
    agrees(&mut parts.headers, &name, how / 8);
    session_id(&name);
    said(body);
}

/// A field as it is written; a name or a value of one byte stands for one that matters.
fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = split(line, b": ")?;
    let known = |byte: &u8, of: &[&'static str]| of[usize::from(*byte) % of.len()].as_bytes();
    let name = if let [byte] = name { known(byte, &FIELDS) } else { name };
    let value = if let [byte] = value { known(byte, &VALUES) } else { value };
    Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
}

fn split<'a>(bytes: &'a [u8], by: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(by.len()).position(|window| window == by)?;
    Some((&bytes[..at], &bytes[at + by.len()..]))
}

/// Whatever a name is, it can be said in a header, and is read again.
fn written_and_read(text: &str) {
    let value = agreement::header_value(text).expect("a header holds each name");
    assert!(value.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte)), "no line ends, and nothing unseen");
    assert_eq!(agreement::header_text(&value).as_deref(), Some(text));
}

/// What a header says is what its bytes say by RFC 4648, or by themselves.
fn one_reading(value: &HeaderValue) {
    let text = agreement::header_text(value);
    assert_eq!(text, read(value.as_bytes()), "{value:?}");
    text.iter().for_each(|text| written_and_read(text));
}

fn read(bytes: &[u8]) -> Option<String> {
    if !bytes.iter().all(|byte| matches!(byte, b'\t' | 0x20..0x7f)) {
        return None;
    }
    let bytes = bytes.trim_ascii();
    let Some(coded) = bytes.strip_prefix(b"=?base64?").and_then(|rest| rest.strip_suffix(b"?=")) else {
        return Some(String::from_utf8_lossy(bytes).into_owned());
    };
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padding = coded.iter().rev().take_while(|byte| **byte == b'=').count();
    if !coded.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bits = Vec::new();
    for byte in &coded[..coded.len() - padding] {
        let digit = DIGITS.iter().position(|digit| digit == byte)?;
        bits.extend((0..6).rev().map(|bit| u8::from(digit >> bit & 1 == 1)));
    }
    // What is left of the last digit is nothing, so that a text is spelled in one way.
    let (whole, left) = bits.split_at(bits.len() / 8 * 8);
    let bytes = whole.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect();
    if left.contains(&1) { None } else { String::from_utf8(bytes).ok() }
}

/// A request comes in if it breaks no rule, and else is told one that it breaks.
fn admitted(parts: &Parts) {
    let policy = EdgePolicy::default().path("/mcp").expect("a path").allowed_hosts(["here".into(), "[::1]:80".into()]);
    let policy = policy.allowed_origins(["http://friend".into()]);
    let broken = broken(parts);
    let text = |name: &HeaderName| parts.headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match policy.admit(parts) {
        Err(refusal) => assert!(broken.contains(refusal.reason().as_str()), "{refusal:?} is none of {broken:?}"),
        Ok(admitted) => {
            assert!(broken.is_empty(), "{broken:?} of {parts:?}");
            assert_eq!(admitted.session.as_deref(), text(&headers::SESSION));
            let revision = admitted.revision.map(Revision::as_str);
            let version = text(&headers::VERSION);
            assert_eq!(revision.or(admitted.unknown_version.as_deref()), version);
            assert_eq!(revision.is_some(), Revision::ALL.iter().any(|known| Some(known.as_str()) == version));
        }
    }
}

/// All rules that a request breaks.
fn broken(parts: &Parts) -> BTreeSet<&'static str> {
    let (mut broken, fields) = (BTreeSet::new(), &parts.headers);
    let mut must = |holds: bool, reason: Reason| _ = (!holds).then(|| broken.insert(reason.as_str()));
    let text = |name: &HeaderName| fields.get(name).map(|value| value.to_str().unwrap_or_default());
    let lengths = || fields.iter().map(|(name, value)| name.as_str().len() + value.len());
    let is_small = fields.len() <= HEADERS_MAX && lengths().all(|length| length <= HEADER_BYTES_MAX);
    must(is_small && lengths().sum::<usize>() <= HEADERS_BYTES_MAX, Reason::HeadersTooLarge);
    must(ONCE.iter().all(|name| fields.get_all(name).iter().count() <= 1), Reason::InvalidHeader);
    let framings = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
    must(framings.iter().filter(|name| fields.contains_key(*name)).count() <= 1, Reason::InvalidHeader);
    must(parts.uri.path() == "/mcp", Reason::NotFound);
    let kind = parts.method.as_str();
    must(["POST", "GET", "DELETE"].contains(&kind), Reason::MethodNotAllowed);
    // Who is called: by the target, by the header, or by both alike.
    let (target, named) = (parts.uri.authority().map(|host| host.as_str()), text(&header::HOST));
    let agree = target.zip(named).is_none_or(|(target, named)| target.eq_ignore_ascii_case(named));
    let host = target.or(named).unwrap_or_default().to_ascii_lowercase();
    must(agree && !host.is_empty(), Reason::InvalidHeader);
    let port =
        host.strip_prefix("here:").is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    must(port || ["here", "[::1]:80"].contains(&&*host), Reason::HostNotAllowed);
    let origin = text(&header::ORIGIN).map(str::to_ascii_lowercase);
    let own = [format!("http://{host}"), format!("https://{host}"), "http://friend".into()];
    must(origin.is_none_or(|origin| own.contains(&origin)), Reason::OriginNotAllowed);
    let wanted: &[&str] = match kind {
        "POST" => &["application/json", "text/event-stream"],
        "GET" => &["text/event-stream"],
        _ => &[],
    };
    let is_plain = fields.get_all(header::CONTENT_ENCODING).iter().all(|coding| coding == "identity");
    let is_json = text(&header::CONTENT_TYPE).is_some_and(is_json);
    must(kind != "POST" || is_json && is_plain, Reason::UnsupportedMediaType);
    must(wanted.is_empty() || wanted.iter().any(|wanted| accepts(fields, wanted)), Reason::NotAcceptable);
    let is_seen = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let session = text(&headers::SESSION);
    must(session.is_none_or(|text| is_seen(text) && text.len() <= SESSION_BYTES_MAX), Reason::InvalidHeader);
    let is_known = text(&headers::VERSION).is_none_or(|version| Revision::parse(version).is_some());
    must(is_known || kind == "POST", Reason::UnsupportedVersion);
    broken
}

fn is_json(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let (essence, parameters) = lower.split_once(';').unwrap_or((&lower, ""));
    let charset = |parameter: &str| {
        let (name, value) = parameter.split_once('=')?;
        (name.trim() == "charset").then(|| value.trim().trim_matches('"') == "utf-8")
    };
    essence.trim() == "application/json" && parameters.split(';').filter_map(charset).all(|is_utf8| is_utf8)
}

fn accepts(fields: &HeaderMap, wanted: &str) -> bool {
    let family = wanted.split('/').next().expect("the first part");
    let said: Vec<&str> = fields.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut ranges =
        said.iter().flat_map(|text| text.split(',')).map(|range| range.split(';').next().unwrap_or_default().trim());
    !fields.contains_key(header::ACCEPT)
        || ranges.any(|range| range == "*/*" || range.eq_ignore_ascii_case(wanted) || range == format!("{family}/*"))
}

/// Headers agree with a body if each says the body's word, once; older revisions do not ask.
fn agrees(fields: &mut HeaderMap, name: &str, how: u8) {
    let (method, is_named) = CALLED[usize::from(how % 8)];
    let revision = if (how / 8).is_multiple_of(4) { Revision::V2025_11_25 } else { Revision::V2026_07_28 };
    let kinds = [Kind::Request, Kind::Request, Kind::Notification, Kind::Response];
    let mut call = Call::new(kinds[usize::from(how / 8 % 4)], Method::new(method), revision);
    call.target = (!name.is_empty()).then(|| name.into());
    let is_asked = revision.is_stateless() && call.kind != Kind::Response;
    let says = |fields: &HeaderMap, header: &HeaderName, word: &str| {
        let mut values = fields.get_all(header).iter();
        let value = values.next().filter(|_| values.next().is_none());
        value.and_then(|value| read(value.as_bytes())).as_deref() == Some(word)
    };
    let is_alike = |fields: &HeaderMap| {
        let named = !is_named || name.is_empty() || says(fields, &headers::NAME, name);
        fields.contains_key(headers::VERSION) && says(fields, &headers::METHOD, method) && named
    };
    assert_eq!(agreement::check(fields, &call).is_ok(), !is_asked || is_alike(fields), "{fields:?} of {call:?}");
    for (header, text) in [(headers::METHOD, method), (headers::NAME, name), (headers::VERSION, "2026-07-28")] {
        fields.insert(header, agreement::header_value(text).expect("a header holds each name"));
    }
    assert!(agreement::check(fields, &call).is_ok(), "what is written so agrees");
}

/// A session's id has one spelling, and its beginning is all that is shown.
fn session_id(text: &str) {
    let is_spelled = text.len() == 32 && text.bytes().all(|byte| b"0123456789ABCDEF".contains(&byte));
    let id = SessionId::parse(text);
    assert_eq!(id.is_some(), is_spelled, "{text}");
    if let Some(id) = id {
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("{id:?}"), format!("SessionId({}…)", &text[..8]));
    }
    let bits = text.bytes().fold(0_u128, |bits, byte| bits.rotate_left(7) ^ u128::from(byte));
    assert_eq!(SessionId::parse(&SessionId::from_bits(bits).to_string()), Some(SessionId::from_bits(bits)));
}

/// The ids in what is said: those that any reader of JSON finds there, none that is too long.
fn said(line: &[u8]) {
    let same = |text: &str, value: Option<&Value>| {
        assert!(text.len() <= ID_BYTES_MAX);
        assert_eq!(serde_json::from_str::<Value>(text).ok().as_ref(), value, "{text}");
    };
    // What nobody looks at is passed on as the node said it: too deep for others, a number beyond a double, or no UTF-8.
    let Ok(value) = serde_json::from_slice::<Value>(line) else { return };
    let (id, params) = (value.get("id"), value.get("params"));
    match FromNode::read(line) {
        Some(FromNode::Response { id: text, .. } | FromNode::Request { id: text, .. }) => same(text, id),
        Some(FromNode::Notification { progress_token, cancelled, .. }) => {
            let found = |name| params.and_then(|params| params.get(name));
            progress_token.iter().for_each(|text| same(text, found("progressToken")));
            cancelled.iter().for_each(|text| same(text, found("requestId")));
        }
        _ => {}
    }
    let text = std::str::from_utf8(line).expect("JSON");
    let token = value.get("_meta").and_then(|meta| meta.get("progressToken"));
    progress_token(text).iter().for_each(|text| same(text, token));
    cancelled_id(text).iter().for_each(|text| same(text, value.get("requestId")));
}
