//! URLs of what the guard calls.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use http::Uri;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An absolute `http://` URL with a host, and without credentials or a fragment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpUrl(Uri);

/// Where a node is, and what it speaks there.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum NodeUrl {
    /// Streamable HTTP.
    Http(Uri),
    /// HTTP with server-sent events, as of 2024-11-05. The URL is that of its stream, without `sse+`.
    Sse(Uri),
    /// WebSocket, a message a text frame.
    WebSocket(Uri),
    /// JSON lines over TCP, to this host and port.
    Tcp(String),
    /// JSON lines over the Unix socket that is this file.
    Unix(PathBuf),
}

/// A text that is not the URL it should be. The text is not told: it may hold credentials.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{fault}: write {allowed}")]
pub struct InvalidUrl {
    fault: UrlFault,
    allowed: &'static str,
}

/// What is wrong with a URL.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum UrlFault {
    /// Nothing that is spoken here.
    #[error("{0:?} is not a scheme that is known here")]
    UnknownScheme(String),
    /// Not a URL with a scheme and a host.
    #[error("not a URL")]
    Malformed,
    /// User and password before the host.
    #[error("credentials in a URL are not supported by this build yet")]
    Credentials,
    /// A `#` part, which no server is ever sent.
    #[error("a URL here has no # part")]
    Fragment,
    /// Lines have an address, and no path.
    #[error("a tcp URL has a host and a port, and nothing behind them")]
    NotAnAddress,
    /// Not the path of a file from the root.
    #[error("a unix URL is the path of a socket, from the root")]
    NotAPath,
}

impl HttpUrl {
    const ALLOWED: &str = "http://HOST[:PORT][/PATH]";

    /// The URL as a request needs it.
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for HttpUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let parse = || match split(text)? {
            (scheme, rest) if scheme == "http" => hierarchical("http", rest).map(Self),
            (scheme, _) => Err(UrlFault::UnknownScheme(scheme)),
        };
        parse().map_err(|fault| InvalidUrl { fault, allowed: Self::ALLOWED })
    }
}

impl NodeUrl {
    pub(super) const ALLOWED: &str = "http[s]://HOST[:PORT][/PATH], sse+http[s]://HOST[:PORT]/PATH, ws[s]://HOST[:PORT][/PATH], tcp://HOST:PORT or unix:/PATH";

    /// Whether what is spoken there is spoken at `other`.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other) && self.is_secure() == other.is_secure()
    }

    /// Whether it is called over TLS.
    pub fn is_secure(&self) -> bool {
        match self {
            Self::Http(uri) | Self::Sse(uri) | Self::WebSocket(uri) => is_secure(uri),
            Self::Tcp(_) | Self::Unix(_) => false,
        }
    }
}

impl FromStr for NodeUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        parse_node(text).map_err(|fault| InvalidUrl { fault, allowed: Self::ALLOWED })
    }
}

fn parse_node(text: &str) -> Result<NodeUrl, UrlFault> {
    if let Some(path) = text.strip_prefix("unix:") {
        // `unix:///PATH` is how some write it.
        let path = path.strip_prefix("//").unwrap_or(path);
        let is_path = path.len() > 1 && path.starts_with('/') && !path.contains('\0');
        return if is_path { Ok(NodeUrl::Unix(path.into())) } else { Err(UrlFault::NotAPath) };
    }
    let (scheme, rest) = split(text)?;
    match scheme.as_str() {
        "http" | "https" => hierarchical(&scheme, rest).map(NodeUrl::Http),
        "sse+http" => hierarchical("http", rest).map(NodeUrl::Sse),
        "sse+https" => hierarchical("https", rest).map(NodeUrl::Sse),
        "ws" | "wss" => hierarchical(&scheme, rest).map(NodeUrl::WebSocket),
        "tcp" => match hierarchical("tcp", rest)?.into_parts() {
            parts if parts.path_and_query.as_ref().is_some_and(|path| path != "/") => Err(UrlFault::NotAnAddress),
            parts => match parts.authority.filter(|authority| authority.port_u16().is_some()) {
                Some(authority) => Ok(NodeUrl::Tcp(authority.to_string())),
                None => Err(UrlFault::NotAnAddress),
            },
        },
        _ => Err(UrlFault::UnknownScheme(scheme)),
    }
}

/// Whether the scheme is one with TLS.
pub fn is_secure(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("https" | "wss"))
}

/// The scheme, in lower case, and what is behind its colon.
fn split(text: &str) -> Result<(String, &str), UrlFault> {
    let (scheme, rest) = text.split_once(':').ok_or(UrlFault::Malformed)?;
    let scheme = scheme.to_ascii_lowercase();
    // `localhost:3000` reads as a scheme too; it is no use to say that it is not one.
    if !rest.starts_with("//") {
        return Err(UrlFault::Malformed);
    }
    Ok((scheme, rest))
}

/// The URL `scheme:rest`, which has a host.
fn hierarchical(scheme: &str, rest: &str) -> Result<Uri, UrlFault> {
    if rest.contains('#') {
        return Err(UrlFault::Fragment);
    }
    let uri: Uri = format!("{scheme}:{rest}").parse().map_err(|_| UrlFault::Malformed)?;
    match uri.authority() {
        Some(authority) if authority.as_str().contains('@') => Err(UrlFault::Credentials),
        // `HOST:` and ports above 65535 pass as an authority, but have no port to connect to.
        Some(authority) if has_bad_port(authority.as_str()) => Err(UrlFault::Malformed),
        Some(authority) if !authority.host().is_empty() => Ok(uri),
        Some(_) | None => Err(UrlFault::Malformed),
    }
}

/// Whether something after the host is not a port from 1 to 65535.
pub(super) fn has_bad_port(authority: &str) -> bool {
    let after_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    after_host.split_once(':').is_some_and(|(_, port)| !port.parse().is_ok_and(|port: u16| port > 0))
}

impl TryFrom<String> for HttpUrl {
    type Error = InvalidUrl;

    fn try_from(text: String) -> Result<Self, InvalidUrl> {
        text.parse()
    }
}

impl TryFrom<String> for NodeUrl {
    type Error = InvalidUrl;

    fn try_from(text: String) -> Result<Self, InvalidUrl> {
        text.parse()
    }
}

impl From<HttpUrl> for String {
    fn from(url: HttpUrl) -> Self {
        url.to_string()
    }
}

impl From<NodeUrl> for String {
    fn from(url: NodeUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(uri) | Self::WebSocket(uri) => uri.fmt(f),
            Self::Sse(uri) => write!(f, "sse+{uri}"),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl JsonSchema for HttpUrl {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Url".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[hH][tT][tT][pP]://[^@#]+$"})
    }
}

impl JsonSchema for NodeUrl {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NodeUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN})
    }
}

/// Schemes in any case, as everywhere.
const PATTERN: &str = "^(([sS][sS][eE]\\+)?[hH][tT][tT][pP][sS]?|[wW][sS][sS]?|[tT][cC][pP])://[^@#]+$|^unix:(//)?/.+$";
