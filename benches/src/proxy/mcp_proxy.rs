//! joshrotenberg/mcp-proxy with one backend and none of its middleware.

use super::Place;

/// It puts the backend's name before those of its tools.
pub(super) const TOOL: &str = "node/echo";

pub(super) fn configuration(place: &Place<'_>) -> String {
    format!(
        "[proxy]
name = \"bench\"
separator = \"/\"
[proxy.listen]
host = \"{}\"
port = {}
[[backends]]
name = \"node\"
transport = \"http\"
url = \"http://{}/mcp\"
",
        place.address.ip(),
        place.address.port(),
        place.node
    )
}
