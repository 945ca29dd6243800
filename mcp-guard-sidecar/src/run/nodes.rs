//! The nodes of an upstream by their names.

use std::sync::Arc;

use crate::config::{NodeUrl, Target, Upstream};
use crate::health::{Health, Healths};
use crate::upstream::dial::authority;

/// How the nodes are called in metrics and logs: where they are, never with what credentials or arguments.
pub(super) fn node_names(upstream: &Upstream) -> Vec<String> {
    let name = |url: &NodeUrl| match url {
        NodeUrl::Http(uri) | NodeUrl::Sse(uri) | NodeUrl::WebSocket(uri) => authority(uri),
        NodeUrl::Tcp(authority) => authority.clone(),
        NodeUrl::Unix(path) => path.display().to_string(),
    };
    // Two that differ by their paths alone are told apart by them.
    let full = |url: &NodeUrl| match url {
        NodeUrl::Http(uri) | NodeUrl::Sse(uri) | NodeUrl::WebSocket(uri) => format!("{}{}", authority(uri), uri.path()),
        NodeUrl::Tcp(_) | NodeUrl::Unix(_) => name(url),
    };
    match &upstream.target {
        Target::Urls(urls) => {
            let is_one = |url: &NodeUrl| urls.iter().filter(|other| name(other) == name(url)).count() == 1;
            urls.iter().map(|url| if is_one(url) { name(url) } else { full(url) }).collect()
        }
        Target::Stdio { command, .. } => vec![command.program().to_owned()],
    }
}

pub(super) fn healths(upstream: &Upstream, names: &[String]) -> Healths {
    let (unhealthy_after, healthy_after) = (upstream.health.unhealthy_after(), upstream.health.healthy_after());
    Healths::new(names.iter().map(|name| Arc::new(Health::new(name, unhealthy_after, healthy_after))))
}
