//! The guard stack around the upstream, put together once.

use mcp_guard::GuardLayer;
use mcp_guard::middleware::{EdgePolicy, InvalidEdge};

use crate::config::{Config, Listener, Timeouts};

/// All concerns of `config`, with the time-outs for calls to its node.
pub fn concerns(config: &Config, node: &str, timeouts: &Timeouts) -> GuardLayer {
    let layer = GuardLayer::for_node(config.guard().clone(), node).call_timeout(timeouts.first_byte());
    timeouts.total().into_iter().fold(layer, GuardLayer::total_timeout)
}

/// Who may come in at a listener.
///
/// # Errors
///
/// If its path is no path; a valid config's is one.
pub fn edge(listener: &Listener) -> Result<EdgePolicy, InvalidEdge> {
    let origins = listener.allowed_origins.iter().map(|origin| origin.as_str().to_owned());
    let policy = EdgePolicy::default().path(listener.path.as_str())?.allowed_origins(origins);
    let hosts: Vec<String> = listener.allowed_hosts.iter().map(|host| host.as_str().to_owned()).collect();
    Ok(match (hosts.is_empty(), listener.address.is_local()) {
        (false, _) => policy.allowed_hosts(hosts),
        (true, true) => policy.allowed_hosts(LOOPBACK_NAMES.map(str::to_owned)),
        // Behind a Service or an ingress any name may be the right one.
        (true, false) => policy,
    })
}

/// By these names, and no others, a browser on this machine means this machine.
const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];
