//! The nodes of an upstream by their names.

use crate::config::{Config, NodeUrl, Target, Upstream};
use crate::upstream::dial::authority;

/// How all nodes of `config` together are called in metrics and logs.
pub(super) fn label(config: &Config) -> String {
    config.upstreams().first().map(node_names).unwrap_or_default().join(",")
}

/// How the nodes are called in metrics and logs: where they are, never with what credentials or arguments.
pub(super) fn node_names(upstream: &Upstream) -> Vec<String> {
    match &upstream.target {
        Target::Urls(urls) => {
            let is_one = |url: &NodeUrl| urls.iter().filter(|other| name(other) == name(url)).count() == 1;
            urls.iter().map(|url| if is_one(url) { name(url) } else { full_name(url) }).collect()
        }
        Target::Stdio { command, .. } => vec![command.program().to_owned()],
    }
}

fn name(url: &NodeUrl) -> String {
    match url {
        NodeUrl::Http(uri) | NodeUrl::Sse(uri) | NodeUrl::WebSocket(uri) => authority(uri),
        NodeUrl::Tcp(authority) => authority.clone(),
        NodeUrl::Unix(path) => path.display().to_string(),
    }
}

/// Two that differ by their paths alone are told apart by them.
pub(super) fn full_name(url: &NodeUrl) -> String {
    match url {
        NodeUrl::Http(uri) | NodeUrl::Sse(uri) | NodeUrl::WebSocket(uri) => format!("{}{}", authority(uri), uri.path()),
        NodeUrl::Tcp(_) | NodeUrl::Unix(_) => name(url),
    }
}
