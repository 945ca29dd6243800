//! Envoy as a plain HTTP/1.1 reverse proxy.

use super::Place;

/// One listener, one route without a time limit, one cluster.
pub(super) fn configuration(place: &Place<'_>) -> String {
    let address = |address: std::net::SocketAddr| {
        format!("{{socket_address: {{address: {}, port_value: {}}}}}", address.ip(), address.port())
    };
    format!(
        "static_resources:
  listeners:
  - address: {}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          codec_type: HTTP1
          stream_idle_timeout: 0s
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes: [{{match: {{prefix: /}}, route: {{cluster: node, timeout: 0s}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: node
    type: STATIC
    circuit_breakers: {{thresholds: [{{max_connections: 4096, max_requests: 4096, max_pending_requests: 4096}}]}}
    load_assignment:
      cluster_name: node
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {}}}}}]}}]
",
        address(place.address),
        address(place.node)
    )
}
