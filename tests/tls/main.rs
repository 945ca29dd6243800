//! TLS to clients and to nodes, with real certificates.

mod identity;
mod listener;
mod reload;
mod upstream;

use std::sync::Arc;

use mcp_guard_tests::certificates::{Authority, Pair, Secure};
use mcp_guard_tests::{Guard, Reply, Wire, post, request};
use rustls::ClientConfig;
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");

/// A guard with TLS, in front of a node on stdio; `more` of the listener's section.
fn guard(pair: &Pair, more: &str) -> Guard {
    guard_with(pair, more, "")
}

/// The same, with more sections.
fn guard_with(pair: &Pair, more: &str, sections: &str) -> Guard {
    let (certificate, key) = (pair.certificate.display(), pair.key.display());
    let tls = format!("tls: {{certificate: {certificate}, key: {key}{more}}}");
    Guard::with_config(
        PROGRAM,
        &format!("listeners: [{{{tls}}}]\nupstreams: [{{command: [{NODE}, --stdio]}}]\n{sections}"),
    )
}

/// Opens a session, and gives its id.
fn initialize(guard: &Guard, config: &Arc<ClientConfig>) -> (Wire<Secure>, Reply) {
    let mut wire = Wire::secure(guard.listen, config);
    let client = json!({"name": "test", "version": "0"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    wire.write(post(guard.listen, &[], request(0, "initialize", params).to_string()));
    let reply = wire.message();
    (wire, reply)
}

fn localhost(authority: &Authority) -> Pair {
    authority.issue("server", &["localhost"])
}
