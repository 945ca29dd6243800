//! An MCP server on standard input and output, which knows nothing of the guard, and a sidecar in front of it.
//!
//! ```text
//! cargo build -p mcp-guard-examples --example stdio_server
//! cargo run -p mcp-guard-sidecar -- run -c examples/sidecar_stdio/guard.yaml
//! curl -i http://127.0.0.1:8080/mcp -H 'content-type: application/json' -d '{"jsonrpc":"2.0","id":1,"method":"initialize",
//!   "params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"curl","version":"8"}}}'
//! ```
//!
//! The answer's `Mcp-Session-Id` belongs to a process of this program, started for the session alone. With it:
//!
//! ```text
//! curl -i http://127.0.0.1:8080/mcp -H 'content-type: application/json' -H 'mcp-protocol-version: 2025-11-25' \
//!   -H 'mcp-session-id: THE SESSION' -d '{"jsonrpc":"2.0","id":2,"method":"tools/call",
//!   "params":{"name":"count","arguments":{}}}'
//! ```
//!
//! counts the calls of that session; `curl -X DELETE` with the same header ends the process.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};

use rmcp::transport::stdio;
use rmcp::{ServerHandler, ServiceExt, tool, tool_handler, tool_router};

// One thread is plenty for one client, and the guard runs many of these.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let running = Counter::default().serve(stdio()).await?;
    running.waiting().await?;
    Ok(())
}

#[derive(Default)]
struct Counter {
    calls: AtomicU64,
}

#[tool_router]
impl Counter {
    #[tool(description = "Says how often it was called in this session")]
    async fn count(&self) -> String {
        (self.calls.fetch_add(1, Ordering::Relaxed) + 1).to_string()
    }
}

#[tool_handler]
impl ServerHandler for Counter {}
