//! URLs of what the guard calls.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An absolute `http://` URL with a host, and without credentials or a fragment.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct HttpUrl(Uri);

/// A text that is not the URL it should be. The text is not told: it may hold credentials.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// A transport that is planned.
    #[error("{0} URLs are not supported by this build yet: write {ALLOWED}")]
    NotYet(String),
    /// A transport that nobody plans.
    #[error("{0:?} is not a scheme that is known here: write {ALLOWED}")]
    UnknownScheme(String),
    /// Not a URL with a scheme and a host.
    #[error("not a URL: write {ALLOWED}")]
    Malformed,
    /// User and password before the host.
    #[error("credentials in a URL are not supported by this build yet: write {ALLOWED}")]
    Credentials,
    /// A `#` part, which no server is ever sent.
    #[error("a URL here has no # part: write {ALLOWED}")]
    Fragment,
}

const ALLOWED: &str = "http://HOST[:PORT][/PATH]";

/// Schemes of transports that are planned; until they are there, each is refused by name.
const PLANNED: [&str; 6] = ["https", "sse+http", "ws", "wss", "tcp", "unix"];

impl HttpUrl {
    /// The URL as a request needs it.
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl FromStr for HttpUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = text.split_once(':').ok_or(InvalidUrl::Malformed)?;
        let scheme = scheme.to_ascii_lowercase();
        if PLANNED.contains(&scheme.as_str()) {
            return Err(InvalidUrl::NotYet(scheme));
        }
        // `localhost:3000` reads as a scheme too; it is no use to say that it is not one.
        if !rest.starts_with("//") {
            return Err(InvalidUrl::Malformed);
        }
        if scheme != "http" {
            return Err(InvalidUrl::UnknownScheme(scheme));
        }
        if text.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidUrl::Malformed)?;
        match uri.authority() {
            Some(authority) if authority.as_str().contains('@') => Err(InvalidUrl::Credentials),
            // `HOST:` and ports above 65535 pass as an authority, but have no port to connect to.
            Some(authority) if has_bad_port(authority.as_str()) => Err(InvalidUrl::Malformed),
            Some(authority) if !authority.host().is_empty() => Ok(Self(uri)),
            Some(_) | None => Err(InvalidUrl::Malformed),
        }
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

impl From<HttpUrl> for String {
    fn from(url: HttpUrl) -> Self {
        url.to_string()
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
