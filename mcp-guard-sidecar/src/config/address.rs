//! Socket addresses as text.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serializer, de};
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

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    parse_address(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

pub(super) fn serialize<S: Serializer>(address: &SocketAddr, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}
