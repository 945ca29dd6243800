//! joshrotenberg/mcp-proxy with one backend and none of its middleware, and silent but for warnings.

use super::Place;

/// It puts the backend's name before those of its tools.
pub(super) const TOOL: &str = "node/echo";

/// Where it speaks MCP.
pub(super) const PATH: &str = "/";

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
[observability]
log_level = \"warn\"
",
        place.address.ip(),
        place.address.port(),
        place.node
    )
}
