//! TLS, to clients and to nodes.

use std::path::{Path, PathBuf};

use rustls_pki_types::ServerName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// TLS to clients. The files are PEM, and read again when they change.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Tls {
    /// The certificate, and behind it those of the authorities between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authorities of client certificates; with it each client must show one, and who it names is the caller's `subject`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// The oldest version that is spoken.
    #[serde(default)]
    pub minimum_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[non_exhaustive]
pub enum TlsVersion {
    /// 1.2, RFC 5246.
    #[serde(rename = "TLSv1.2")]
    Tls12,
    /// 1.3, RFC 8446.
    #[default]
    #[serde(rename = "TLSv1.3")]
    Tls13,
}

/// TLS to the node, at an `https`, `wss` or `sse+https` URL. The files are PEM, and read again when they change.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(try_from = "UpstreamTlsSpec", into = "UpstreamTlsSpec")]
#[schemars(with = "UpstreamTlsSpec")]
pub struct UpstreamTls {
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    server_name: Option<String>,
}

impl UpstreamTls {
    /// The file of the authorities of the node's certificate; `None` for the system's own.
    pub fn ca(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// The files of the certificate that the node is shown, and of its key.
    pub fn identity(&self) -> Option<(&Path, &Path)> {
        self.identity.as_ref().map(|(certificate, key)| (&**certificate, &**key))
    }

    /// The name in the node's certificate, where it is not the URL's.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }
}

/// TLS to the node. The files are PEM, and read again when they change.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "UpstreamTls")]
struct UpstreamTlsSpec {
    /// The authorities of the node's certificate; default: the system's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<PathBuf>,
    /// The certificate that the node is shown if it asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<PathBuf>,
    /// Its private key; one needs the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,
    /// The name that the node's certificate must have, where it is not the host of the URL: a DNS name or an IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
}

/// TLS to a node that cannot be meant.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidUpstreamTls {
    /// A certificate that nobody could use, or a key of nothing.
    #[error("has one of certificate and key without the other: write both, or neither")]
    HalfAnIdentity,
    /// No certificate can have that name.
    #[error("server_name is neither a DNS name nor an IP address: write one that the node's certificate has")]
    InvalidName,
}

impl TryFrom<UpstreamTlsSpec> for UpstreamTls {
    type Error = InvalidUpstreamTls;

    fn try_from(spec: UpstreamTlsSpec) -> Result<Self, InvalidUpstreamTls> {
        let identity = match (spec.certificate, spec.key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return Err(InvalidUpstreamTls::HalfAnIdentity),
        };
        if spec.server_name.as_deref().is_some_and(|name| ServerName::try_from(name).is_err()) {
            return Err(InvalidUpstreamTls::InvalidName);
        }
        Ok(Self { ca: spec.ca, identity, server_name: spec.server_name })
    }
}

impl From<UpstreamTls> for UpstreamTlsSpec {
    fn from(tls: UpstreamTls) -> Self {
        let (certificate, key) = tls.identity.unzip();
        Self { ca: tls.ca, certificate, key, server_name: tls.server_name }
    }
}
