//! Socket addresses as text.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// A text that is not the address of a socket.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{text:?} is not an address: write IP:PORT, as in 127.0.0.1:8080 or [::1]:8080; names are not looked up")]
pub struct InvalidAddress {
    text: String,
}

/// The address that `text` means.
///
/// # Errors
///
/// [`InvalidAddress`] for everything but `IP:PORT` and `[IPv6]:PORT`.
pub fn parse_address(text: &str) -> Result<SocketAddr, InvalidAddress> {
    text.parse().map_err(|_| InvalidAddress { text: text.into() })
}

/// Where a listener listens.
#[derive(Clone, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum ListenAddress {
    /// A TCP socket.
    Tcp(SocketAddr),
    /// A Unix socket, which is this file.
    Unix(PathBuf),
}

/// A text that is no address to listen at.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error(
    "{text:?} is not an address: write IP:PORT, as in 127.0.0.1:8080 or [::1]:8080, or unix:/PATH; names are not looked up"
)]
pub struct InvalidListenAddress {
    text: String,
}

impl ListenAddress {
    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = InvalidListenAddress;

    fn try_from(text: String) -> Result<Self, InvalidListenAddress> {
        match text.strip_prefix("unix:") {
            Some(path) if path.len() > 1 && path.starts_with('/') && !path.contains('\0') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(InvalidListenAddress { text }),
            None => text.parse().map(Self::Tcp).map_err(|_| InvalidListenAddress { text }),
        }
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Debug for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse_address(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

pub(super) fn serialize<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}
