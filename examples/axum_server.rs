//! An axum server of the official Rust SDK's, with the whole guard around its MCP endpoint.
//!
//! ```text
//! cargo run -p mcp-guard-examples --example axum_server -- --listen 127.0.0.1:3000
//! curl -i http://127.0.0.1:3000/mcp -H 'content-type: application/json' -H 'mcp-protocol-version: 2025-11-25' -d \
//!   '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":"two"}}}'
//! ```
//!
//! The answer says that `/b` is no integer, and the tool was not called: the guard learned its schema from the
//! server itself. With `"b":2` it is the sum; the fourth call within a second is refused (429) with `Retry-After`.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use mcp_guard::GuardLayer;
use mcp_guard::config::GuardConfig;
use mcp_guard::middleware::Client;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};
use tower::ServiceBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The same words as in the section `guard:` of the sidecar's config file; every key has a default.
    let config: GuardConfig = serde_json::from_value(serde_json::json!({
        "limits": {"body": "64KiB"},
        "rate_limits": [
            {"name": "per-tool", "key": ["client", "tool"], "match": {"method": "tools/call"}, "rate": "3/s", "burst": 3},
        ],
        "queue": {"concurrency": 32},
    }))?;
    let guarded = ServiceBuilder::new().map_request(name_client).layer(GuardLayer::new(config)).service(mcp_server());
    // The rest of the application is not guarded; it is not MCP.
    let router =
        Router::new().route_service("/mcp", guarded).route("/", axum::routing::get(|| async { "MCP is at /mcp" }));
    let listener = mcp_guard_examples::listen().await?;
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

/// Tells the guard who is calling. Behind a proxy of your own, take the address from what that proxy says.
fn name_client(mut request: Request) -> Request {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        request.extensions_mut().insert(Client(peer.ip()));
    }
    request
}

fn mcp_server() -> StreamableHttpService<Calculator, LocalSessionManager> {
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    StreamableHttpService::new(|| Ok(Calculator), Arc::default(), config)
}

struct Calculator;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Add {
    a: i64,
    b: i64,
}

#[tool_router]
impl Calculator {
    #[tool(description = "Adds two integers")]
    async fn add(&self, Parameters(Add { a, b }): Parameters<Add>) -> String {
        a.saturating_add(b).to_string()
    }
}

#[tool_handler]
impl ServerHandler for Calculator {}
