//! pingora's streams (`ServerApp`), served by hyper: with work stealing, and as the sidecar does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mcp_guard::middleware::{McpService, Node};
use mcp_guard::queue::Pressure;
use mcp_guard::session::Profile;
use mcp_guard_benches::Fault;
use mcp_guard_sidecar::activity::Silence;
use mcp_guard_sidecar::admission::Connections;
use mcp_guard_sidecar::connection::GuardApp;
use mcp_guard_sidecar::drain::Drain;
use mcp_guard_sidecar::host;
use mcp_guard_sidecar::memory::Memory;
use mcp_guard_sidecar::setup::Setup;
use mcp_guard_sidecar::upstream::dial::Dialer;
use mcp_guard_sidecar::upstream::http::{HttpOptions, HttpUpstream};
use pingora::services::listening::Service;

use crate::phases;
use crate::service::Pooled;

const SILENCE: Silence = Silence { first: Duration::from_secs(10), between: Duration::from_secs(75) };

/// One runtime for all cores, and hyper-util's client with one pool.
pub(crate) fn serve_stealing(address: SocketAddr, node: SocketAddr) {
    let Ok(next) = Pooled::new(node) else { return };
    let mut server = phases::server();
    let setup = Setup::new(McpService::new(Node::new(next)), SILENCE).current();
    let app = GuardApp::new(setup, connections(), memory());
    let mut service = Service::new("streams".to_owned(), app);
    service.add_tcp(&address.to_string());
    server.add_service(service);
    server.run_forever();
}

/// The sidecar's host and upstream around a stack that only parses.
pub(crate) fn serve_per_core(address: SocketAddr, node: SocketAddr) -> Result<(), Fault> {
    let upstream = HttpUpstream::new(HttpOptions {
        dialer: Dialer::new(node.to_string(), None),
        path: "/mcp".into(),
        connections_max: 1024,
        connect_timeout: Duration::from_secs(1),
        first_byte_timeout: Duration::from_secs(30),
        idle_timeout: Duration::from_secs(300),
        profile: Profile::Standard,
    })?;
    let connections = connections();
    let mut server = host::server(None);
    server.bootstrap();
    for core in 0..host::cores() {
        let setup = Setup::new(McpService::new(Node::new(upstream.another_pool())), SILENCE).current();
        let app = GuardApp::new(setup, connections.clone(), memory());
        server.add_service(host::listening(app, &address.into(), core));
    }
    server.run_forever();
}

/// Nothing is shed.
fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(u64::MAX, Pressure::default()))
}

fn connections() -> Connections {
    Connections::new(Drain::default(), 10_000, 10_000)
}
