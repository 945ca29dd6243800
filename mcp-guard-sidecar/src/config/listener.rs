//! Where clients and operators reach the guard.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::address::{self, ListenAddress};
use super::host_name::{HostName, Origin};
use super::tls::Tls;

/// One address on which clients are served.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Listener {
    /// Where it listens: `IP:PORT`, or `unix:/PATH` for a Unix socket, which owner and group of the guard may use.
    #[schemars(with = "String")]
    pub address: ListenAddress,
    /// Each connection begins with a header of the PROXY protocol, version 2, in which a load balancer says whom it speaks
    /// for. Whoever can connect can name any address, so only the balancer may be able to; who sends none is cut off.
    pub proxy_protocol: bool,
    /// The path of the MCP endpoint.
    pub path: McpPath,
    /// What is spoken there.
    pub transport: Transport,
    /// The path at which the HTTP with server-sent events of 2024-11-05 is served too: GET opens a stream, whose first
    /// event names the address for messages. Not served by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sse_path: Option<McpPath>,
    /// The path at which WebSocket is served too, one session a socket, a message a text frame. Not served by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_socket_path: Option<McpPath>,
    /// Other processes may listen at this address too, and the kernel spreads connections over them (SO_REUSEPORT). Without
    /// it a guard does not start where somebody else listens.
    pub share_port: bool,
    /// TLS, with HTTP/2 or HTTP/1.1 as the client asks by ALPN; without it HTTP is spoken in the clear.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Which `Host` headers are served, against DNS rebinding: `HOST` on any port, or `HOST:PORT`. Empty: the names of
    /// this machine itself where `address` is a loopback address, else all.
    pub allowed_hosts: Vec<HostName>,
    /// Which `Origin` headers of browsers are served, beside the host's own.
    pub allowed_origins: Vec<Origin>,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)).into(),
            proxy_protocol: false,
            path: McpPath::default(),
            transport: Transport::Http,
            sse_path: None,
            web_socket_path: None,
            share_port: false,
            tls: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}

/// What is spoken at an address.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Transport {
    /// Streamable HTTP, and what else has a path.
    #[default]
    Http,
    /// JSON lines, one session a connection.
    Lines,
}

/// A path of an endpoint: absolute, without a query. Default `/mcp`.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(with = "String")]
#[serde(try_from = "String", into = "String")]
pub struct McpPath(String);

/// A text that is not the path of an endpoint.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{text:?} is not a path: write one that begins with / and has no spaces, ? or #, as in /mcp")]
pub struct InvalidPath {
    text: String,
}

impl McpPath {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for McpPath {
    fn default() -> Self {
        Self("/mcp".into())
    }
}

impl TryFrom<String> for McpPath {
    type Error = InvalidPath;

    fn try_from(text: String) -> Result<Self, InvalidPath> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        if is_plain && text.starts_with('/') { Ok(Self(text)) } else { Err(InvalidPath { text }) }
    }
}

impl From<McpPath> for String {
    fn from(path: McpPath) -> Self {
        path.0
    }
}

/// Where operators and probes reach the guard.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Admin {
    /// Where `/livez`, `/readyz`, `/metrics` and the others listen, as `IP:PORT`. They ask for no credentials.
    #[serde(with = "address")]
    #[schemars(with = "String")]
    pub address: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9901)) }
    }
}
