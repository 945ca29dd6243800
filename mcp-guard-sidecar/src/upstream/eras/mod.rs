//! Clients of one era, and a node of the other: the stateless revision 2026-07-28, and the legacy ones before it.

pub(in crate::upstream) mod answer;
pub(crate) mod caller;
mod detect;
#[cfg(test)]
#[path = "../../../../fuzz/checks/eras_object.rs"]
mod fuzz_check;
pub(crate) mod message;
pub(in crate::upstream) mod object;
mod params;
mod service;
mod subscription;
mod to_legacy;
mod to_modern;

use bytes::Bytes;
use http_body::Body;
use mcp_guard::middleware::Upstream;

pub use answer::EraBody;
pub(crate) use service::always;
pub use service::{Eras, Sweeper};

/// A node with which the guard can speak of its own accord.
pub trait NodeUpstream: Upstream<Body: Body<Data = Bytes> + Unpin> + Clone {}

impl<U> NodeUpstream for U where U: Upstream<Body: Body<Data = Bytes> + Unpin> + Clone {}

/// Whether a JSON text is a log level (RFC 5424, section 6.2.1, as MCP spells them).
fn is_level(text: &str) -> bool {
    let level = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    level.is_some_and(|level| LEVELS.contains(&level))
}

const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
