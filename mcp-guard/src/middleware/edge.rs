//! Step 2 of a call's life: what can be refused by the head of the request alone.

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method as HttpMethod, Uri};
use thiserror::Error;

use super::fields::Fields;
use crate::call::Kind;
use crate::limits::SESSION_BYTES_MAX;
use crate::message;
use crate::refusal::{Reason, Refusal};
use crate::revision::Revision;

/// An edge policy that cannot be meant.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidEdge {
    /// A path starts with a slash.
    #[error("path `{0}` must start with /")]
    Path(String),
}

/// Which requests may come in at all.
///
/// The default lets any path, host and origin in, which suits a library behind a router of its own.
#[derive(Clone, Debug, Default)]
pub struct EdgePolicy {
    path: Option<String>,
    hosts: Option<Vec<String>>,
    origins: Option<Vec<String>>,
}

impl EdgePolicy {
    /// Serves only `path`; others are `not_found`.
    ///
    /// # Errors
    ///
    /// [`InvalidEdge::Path`] if it does not start with a slash.
    pub fn path(mut self, path: impl Into<String>) -> Result<Self, InvalidEdge> {
        let path = path.into();
        if !path.starts_with('/') {
            return Err(InvalidEdge::Path(path));
        }
        self.path = Some(path);
        Ok(self)
    }

    /// Serves only these hosts. One without a port stands for all ports; case does not matter.
    #[must_use]
    pub fn allowed_hosts(mut self, hosts: impl IntoIterator<Item = String>) -> Self {
        self.hosts = Some(hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect());
        self
    }

    /// Serves browsers only from these origins and from the host's own.
    #[must_use]
    pub fn allowed_origins(mut self, origins: impl IntoIterator<Item = String>) -> Self {
        self.origins = Some(origins.into_iter().map(|origin| origin.to_ascii_lowercase()).collect());
        self
    }

    /// Looks at a request's head.
    ///
    /// # Errors
    ///
    /// The refusal, when the request may not come in.
    pub(super) fn admit(&self, head: &Parts) -> Result<Admitted, Refusal> {
        let fields = Fields::of(&head.headers)?;
        if self.path.as_ref().is_some_and(|path| path != head.uri.path()) {
            return Err(Refusal::new(Reason::NotFound, "MCP is served elsewhere"));
        }
        let kind = kind(&head.method)?;
        let host = host(&head.uri, fields.host)?;
        self.check_host(host)?;
        self.check_origin(fields.origin, host)?;
        check_types(kind, &fields, &head.headers)?;
        let session = fields.session.map(session).transpose()?;
        let version = fields.version.map(|version| version.to_str().unwrap_or_default());
        let revision = version.and_then(Revision::parse);
        let unknown_version = version.filter(|_| revision.is_none());
        match unknown_version {
            Some(version) if kind != Kind::Request => Err(message::unsupported(version)),
            Some(_) | None => Ok(Admitted {
                kind,
                session: session.map(Into::into),
                revision,
                unknown_version: unknown_version.map(Into::into),
            }),
        }
    }

    /// Looks at a request's head as far as names go: whom it says to call, and which page it comes from. For hosts that
    /// serve more than MCP's own transport.
    ///
    /// # Errors
    ///
    /// The refusal, when the request may not come in.
    pub fn admit_by_name(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let fields = Fields::of(headers)?;
        let host = host(uri, fields.host)?;
        self.check_host(host)?;
        self.check_origin(fields.origin, host)
    }

    fn check_host(&self, host: &str) -> Result<(), Refusal> {
        let Some(allowed) = &self.hosts else { return Ok(()) };
        let is_host =
            |entry: &String| entry.eq_ignore_ascii_case(host) || entry.eq_ignore_ascii_case(without_port(host));
        if allowed.iter().any(is_host) {
            return Ok(());
        }
        Err(Refusal::new(Reason::HostNotAllowed, "`Host` is none of `allowed_hosts`"))
    }

    fn check_origin(&self, origin: Option<&HeaderValue>, host: &str) -> Result<(), Refusal> {
        let (Some(allowed), Some(origin)) = (&self.origins, origin) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if own == Some(&host.to_ascii_lowercase()) || allowed.contains(&origin) {
            return Ok(());
        }
        Err(Refusal::new(Reason::OriginNotAllowed, "`Origin` is none of `allowed_origins`"))
    }
}

/// What the head of an admitted request says.
#[derive(Debug)]
pub(super) struct Admitted {
    /// [`Kind::Request`] stands for whatever the body of a POST turns out to be.
    pub(super) kind: Kind,
    pub(super) session: Option<Box<str>>,
    pub(super) revision: Option<Revision>,
    /// What `MCP-Protocol-Version` says, if that is no revision. A POST is refused for it when it has been read, so
    /// that the answer has its id.
    pub(super) unknown_version: Option<Box<str>>,
}

fn kind(method: &HttpMethod) -> Result<Kind, Refusal> {
    match *method {
        HttpMethod::POST => Ok(Kind::Request),
        HttpMethod::GET => Ok(Kind::Listen),
        HttpMethod::DELETE => Ok(Kind::End),
        _ => Err(Refusal::new(Reason::MethodNotAllowed, "use POST, GET or DELETE")),
    }
}

/// The one host that a request names, in its target or in `Host` (RFC 9112, section 3.2).
fn host<'a>(uri: &'a Uri, named: Option<&'a HeaderValue>) -> Result<&'a str, Refusal> {
    let named = named.map(|host| host.to_str().unwrap_or_default());
    match (authority(uri), named) {
        (Some(authority), Some(named)) if !authority.eq_ignore_ascii_case(named) => {
            Err(invalid("`Host` contradicts the request's target"))
        }
        (Some(host), _) | (None, Some(host)) if !host.is_empty() => Ok(host),
        _ => Err(invalid("`Host` is missing")),
    }
}

fn authority(uri: &Uri) -> Option<&str> {
    uri.authority().map(http::uri::Authority::as_str)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    }
}

fn check_types(kind: Kind, fields: &Fields<'_>, headers: &HeaderMap) -> Result<(), Refusal> {
    if kind == Kind::Request {
        if !fields.content_type.is_some_and(is_json) {
            return Err(Refusal::new(Reason::UnsupportedMediaType, "a message is `application/json`, in UTF-8"));
        }
        if fields.is_coded {
            return Err(Refusal::new(Reason::UnsupportedMediaType, "a message is not compressed"));
        }
        if !is_usual(headers) && !ANSWER_TYPES.iter().any(|answer| accepts(headers, answer)) {
            return Err(not_acceptable("answers are `application/json` or `text/event-stream`"));
        }
    }
    if kind == Kind::Listen && !accepts(headers, "text/event-stream") {
        return Err(not_acceptable("the stream is `text/event-stream`"));
    }
    Ok(())
}

/// Whether a body of this type is JSON in UTF-8 (RFC 8259, section 8.1).
///
/// A node that believed another `charset` would read another message than the guard has.
fn is_json(value: &HeaderValue) -> bool {
    let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|text| text.eq_ignore_ascii_case("application/json"));
    let mut charsets = parts.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    is_json && charsets.all(|charset| charset.eq_ignore_ascii_case("utf-8"))
}

/// Spells out what a wildcard or an absent `Accept` means.
///
/// MCP servers want both media types by name, and refuse `curl`, which accepts everything.
pub(super) fn spell_out_accept(headers: &mut HeaderMap) {
    if is_usual(headers) {
        return;
    }
    let by_name = |wanted: &str| {
        let mut values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.contains(wanted))
    };
    let [json, stream] = ANSWER_TYPES;
    if accepts(headers, json) && accepts(headers, stream) && !(by_name(json) && by_name(stream)) {
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    }
}

/// Whether `Accept` says what the SDKs say: nearly always, so it is not taken apart then.
fn is_usual(headers: &HeaderMap) -> bool {
    headers.get(header::ACCEPT).is_some_and(|value| USUAL.iter().any(|usual| value == usual))
}

const USUAL: [&str; 2] = ["application/json, text/event-stream", "text/event-stream, application/json"];

/// What an answer may be.
const ANSWER_TYPES: [&str; 2] = ["application/json", "text/event-stream"];

/// Whether `Accept` lets `wanted` be sent; everything is acceptable where it is absent (RFC 9110, section 12.5.1).
fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    let family = wanted.split('/').next().unwrap_or_default();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let range = range.split(';').next().unwrap_or_default().trim();
        range == "*/*" || range.eq_ignore_ascii_case(wanted) || range.strip_suffix("/*") == Some(family)
    })
}

fn session(value: &HeaderValue) -> Result<&str, Refusal> {
    let text = value.to_str().unwrap_or_default();
    let visible = !text.is_empty() && text.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if !visible || text.len() > SESSION_BYTES_MAX {
        return Err(invalid(format!("`Mcp-Session-Id` must be 1 to {SESSION_BYTES_MAX} visible ASCII characters")));
    }
    Ok(text)
}

pub(super) fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidHeader, detail)
}

fn not_acceptable(detail: &str) -> Refusal {
    Refusal::new(Reason::NotAcceptable, detail)
}

#[cfg(test)]
#[path = "edge_tests.rs"]
mod tests;
