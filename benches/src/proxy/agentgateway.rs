//! agentgateway as a plain HTTP proxy: its MCP mode ends sessions itself and writes answers anew.

use super::Place;

/// One bind (on all addresses of the machine: it takes a port only), one route to one host.
pub(super) fn configuration(place: &Place<'_>) -> String {
    let [admin, stats, readiness] = place.others;
    format!(
        "config: {{adminAddr: \"{admin}\", statsAddr: \"{stats}\", readinessAddr: \"{readiness}\"}}
binds:
- port: {}
  listeners:
  - protocol: HTTP
    routes:
    - backends:
      - host: {}
",
        place.address.port(),
        place.node
    )
}
