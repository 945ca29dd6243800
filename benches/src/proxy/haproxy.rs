//! HAProxy as a plain reverse proxy.

use super::{Place, cores};

/// A thread for each core; connections to the node are shared by all clients; nothing is logged.
pub(super) fn configuration(place: &Place<'_>) -> String {
    format!(
        "global
    nbthread {}
    maxconn 4096
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend clients
    bind {}
    default_backend node
backend node
    server node {} pool-purge-delay 1h
",
        cores(),
        place.address,
        place.node
    )
}
