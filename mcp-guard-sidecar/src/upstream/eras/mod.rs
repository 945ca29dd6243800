//! Clients of one era, and a node of the other: the stateless revision 2026-07-28, and the legacy ones before it.

mod answer;
mod caller;
mod detect;
mod message;
mod object;
mod params;
mod service;
mod to_legacy;
mod to_modern;

use bytes::Bytes;
use http_body::Body;
use mcp_guard::middleware::Upstream;

pub use answer::EraBody;
pub use service::{Eras, Sweeper};

/// A node with which the guard can speak of its own accord.
pub trait NodeUpstream: Upstream<Body: Body<Data = Bytes> + Unpin> + Clone {}

impl<U> NodeUpstream for U where U: Upstream<Body: Body<Data = Bytes> + Unpin> + Clone {}
