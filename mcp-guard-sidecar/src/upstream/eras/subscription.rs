//! What clients of either era can listen for.

use super::object::{Object, quote};

/// What marks each message of a stream with the request that opened it.
pub(super) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Lists that may change: the name in a filter, the capability of the node's, and the notification.
pub(super) const LISTS: [(&str, &str, &str); 3] = [
    ("toolsListChanged", "tools", "notifications/tools/list_changed"),
    ("promptsListChanged", "prompts", "notifications/prompts/list_changed"),
    ("resourcesListChanged", "resources", "notifications/resources/list_changed"),
];

/// What tells that a resource has changed.
pub(super) const UPDATED: &str = "notifications/resources/updated";

/// Whether a node with these capabilities tells of `what` under `capability`.
pub(super) fn can(capabilities: &Object<'_>, capability: &str, what: &str) -> bool {
    capabilities.object(capability).is_some_and(|able| able.get(what) == Some("true"))
}

/// A filter for these lists, by their names in filters, and resources.
pub(super) fn filter<'a>(
    lists: impl Iterator<Item = &'static str>,
    resources: impl Iterator<Item = &'a String>,
) -> Object<'static> {
    let mut filter = Object::default();
    for name in lists {
        filter.set(name, "true");
    }
    let resources: Vec<String> = resources.map(|uri| quote(uri)).collect();
    if !resources.is_empty() {
        filter.set("resourceSubscriptions", format!("[{}]", resources.join(",")));
    }
    filter
}
