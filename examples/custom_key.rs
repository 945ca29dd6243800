//! Rate limits by who is calling, not from where: an API key names the caller, and each has an allowance for each tool.
//!
//! ```text
//! cargo run -p mcp-guard-examples --example custom_key -- --listen 127.0.0.1:3000
//! for key in ada-1815 ada-1815 grace-1906; do curl -i http://127.0.0.1:3000/mcp -H "x-api-key: $key" \
//!   -H 'content-type: application/json' -H 'mcp-protocol-version: 2025-11-25' \
//!   -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"report","arguments":{}}}'; done
//! ```
//!
//! Ada's second report within the minute is refused (429); Grace's first is not, although she calls from the same
//! machine. Two keys of one customer would share an allowance, for it is the customer that is counted.

use std::error::Error;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Router;
use http::request::Parts;
use mcp_guard::call::Call;
use mcp_guard::rate_limit::{KeyPart, RateLimitLayer, RateLimitPolicy, RateLimits};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use tower::Layer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let rule = RateLimitPolicy::new("reports", &[KeyPart::Subject, KeyPart::Tool], "1/m".parse()?)?;
    let limits = RateLimits::new(vec![rule.with_burst(NonZeroU32::MIN)?])?;
    let layer = RateLimitLayer::new(&limits).key_with(customer);
    let router = Router::new().route_service("/mcp", layer.layer(mcp_server()));
    axum::serve(mcp_guard_examples::listen().await?, router).await?;
    Ok(())
}

/// Whose key it is. Callers without a known one are all the same caller, so they share one allowance.
///
/// The call is there too: a key may be worth more for some tools than for others.
fn customer(head: &Parts, _call: &Call) -> Option<Box<str>> {
    let key = head.headers.get("x-api-key")?.to_str().ok()?;
    let customer = KEYS.iter().find(|(known, _)| *known == key).map(|(_, customer)| *customer)?;
    Some(customer.into())
}

/// Keys and whose they are; a real server looks them up.
const KEYS: [(&str, &str); 3] = [("ada-1815", "ada"), ("ada-1816", "ada"), ("grace-1906", "grace")];

fn mcp_server() -> StreamableHttpService<Reports, LocalSessionManager> {
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    StreamableHttpService::new(|| Ok(Reports), Arc::default(), config)
}

struct Reports;

#[tool_router]
impl Reports {
    #[tool(description = "Writes a report that costs a lot")]
    async fn report(&self) -> String {
        "all is well".into()
    }

    #[tool(description = "Writes a summary that costs a lot too")]
    async fn summary(&self) -> String {
        "well".into()
    }
}

#[tool_handler]
impl ServerHandler for Reports {}
