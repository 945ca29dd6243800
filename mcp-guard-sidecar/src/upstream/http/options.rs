//! What is known about a node.

use std::time::Duration;

use mcp_guard::session::Profile;

use crate::upstream::dial::Dialer;

/// What is known about a node.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// What makes connections to it; its host and port are `Host`.
    pub dialer: Dialer,
    /// The path of its MCP endpoint.
    pub path: String,
    /// Most connections for calls, those of all pools together. Streams that only listen (GET,
    /// `subscriptions/listen`) may have as many again, so that however many there are, calls keep theirs.
    pub connections_max: usize,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// How long the head of an answer may take, where the request has no deadline.
    pub first_byte_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// Which known quirks the node has.
    pub profile: Profile,
}
