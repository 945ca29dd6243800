//! Names that the `Host` and `Origin` headers of a client may carry.

use http::uri::{Authority, Scheme, Uri};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::url::has_bad_port;

/// What a `Host` header may say: `HOST`, on any port, or `HOST:PORT`. Kept in lower case.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(with = "String")]
#[serde(try_from = "String", into = "String")]
pub struct HostName(String);

/// A text that is not a host.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{text:?} is not a host: write HOST or HOST:PORT, as in mcp.example.com or [::1]:8080")]
pub struct InvalidHostName {
    text: String,
}

impl HostName {
    /// The text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for HostName {
    type Error = InvalidHostName;

    fn try_from(text: String) -> Result<Self, InvalidHostName> {
        if is_host(&text) { Ok(Self(text.to_ascii_lowercase())) } else { Err(InvalidHostName { text }) }
    }
}

impl From<HostName> for String {
    fn from(host: HostName) -> Self {
        host.0
    }
}

/// What an `Origin` header may say: `http://HOST`, `https://HOST`, with a port where it is not the scheme's own. Kept
/// in lower case.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(with = "String")]
#[serde(try_from = "String", into = "String")]
pub struct Origin(String);

/// A text that is not an origin.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "{text:?} is not an origin: write http:// or https:// and HOST[:PORT] without a path, as in https://app.example.com"
)]
pub struct InvalidOrigin {
    text: String,
}

impl Origin {
    /// The text, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Origin {
    type Error = InvalidOrigin;

    fn try_from(text: String) -> Result<Self, InvalidOrigin> {
        if is_origin(&text) { Ok(Self(text.to_ascii_lowercase())) } else { Err(InvalidOrigin { text }) }
    }
}

impl From<Origin> for String {
    fn from(origin: Origin) -> Self {
        origin.0
    }
}

fn is_host(text: &str) -> bool {
    // A wildcard would pass as a name, and then match nobody.
    !text.contains(['@', '*']) && !has_bad_port(text) && text.parse::<Authority>().is_ok_and(|it| !it.host().is_empty())
}

fn is_origin(text: &str) -> bool {
    let Some((_, host)) = text.split_once("://") else {
        return false;
    };
    let scheme = text.parse::<Uri>().ok().and_then(|uri| uri.scheme().cloned());
    is_host(host) && matches!(scheme, Some(scheme) if scheme == Scheme::HTTP || scheme == Scheme::HTTPS)
}
