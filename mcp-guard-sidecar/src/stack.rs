//! The guard stack around the upstream, put together once.

use mcp_guard::GuardLayer;
use mcp_guard::middleware::{EdgePolicy, InvalidEdge};

use crate::config::{Config, Listener, Upstream};

/// All concerns of `config`, with the time-outs for calls to its node, which is called `node` in metrics.
pub fn concerns(config: &Config, node: &str) -> GuardLayer {
    timed(GuardLayer::for_node(config.guard().clone(), node), config)
}

/// Those of `config` after those of `before`.
pub fn succeeding(before: &GuardLayer, config: &Config, node: &str) -> GuardLayer {
    before.set_node(node);
    timed(before.succeeded(config.guard().clone()), config)
}

fn timed(layer: GuardLayer, config: &Config) -> GuardLayer {
    match config.upstreams().first() {
        Some(Upstream { timeouts, .. }) => layer.call_timeout(timeouts.first_byte()).total_timeout(timeouts.total()),
        None => layer,
    }
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
