//! What the library costs a Rust server that links it: the official SDK's server under axum, with `GuardLayer` and without.
//!
//! Both are this program again, each a process of its own: `layer --serve plain --address 127.0.0.1:3000`.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use clap::{Parser, ValueEnum};
use http::HeaderValue;
use mcp_guard::GuardLayer;
use mcp_guard::config::GuardConfig;
use mcp_guard::middleware::Client;
use mcp_guard_benches::{Contest, Contestant, Fault, Process, free_address};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, schemars, tool, tool_handler, tool_router};
use serde_json::json;
use tower::ServiceBuilder;

/// Measures what `GuardLayer`, with all six concerns on, adds to a call of an rmcp server under axum
#[derive(Parser)]
struct Arguments {
    /// How many connections call at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 32])]
    connections: Vec<usize>,
    /// How many seconds each is called in a round
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// How many rounds count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Serve, and measure nothing
    #[arg(long, requires = "address")]
    serve: Option<Server>,
    /// Where to serve
    #[arg(long)]
    address: Option<SocketAddr>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Server {
    Plain,
    Guarded,
}

fn main() -> Result<(), Fault> {
    let arguments = Arguments::parse();
    match (arguments.serve, arguments.address) {
        (Some(server), Some(address)) => tokio::runtime::Runtime::new()?.block_on(serve(server, address)),
        (Some(_), None) | (None, _) => {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(&arguments))
        }
    }
}

async fn measure(arguments: &Arguments) -> Result<(), Fault> {
    let contestants = [started("plain")?, started("guarded")?];
    let time = Duration::try_from_secs_f64(arguments.seconds)?;
    let contest = Contest { connections: arguments.connections.clone(), time, rounds: arguments.rounds };
    mcp_guard_benches::print(&contest.hold(&contestants).await?, "plain");
    Ok(())
}

fn started(name: &str) -> Result<Contestant, Fault> {
    let address = free_address()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--serve", name, "--address", &address.to_string()]);
    Ok(Contestant::new(name, address).of(Process::start(&mut command, address)?).with_tool(TOOL))
}

const TOOL: &str = "repeat";

async fn serve(server: Server, address: SocketAddr) -> Result<(), Fault> {
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let node = StreamableHttpService::new(|| Ok(Repeater), Arc::<LocalSessionManager>::default(), config);
    let router = match server {
        Server::Plain => Router::new().route_service("/mcp", node),
        Server::Guarded => {
            let guard = GuardLayer::new(all_concerns()?);
            Router::new()
                .route_service("/mcp", ServiceBuilder::new().map_request(name_client).layer(guard).service(node))
        }
    };
    let router = router.layer(tower::util::MapResponseLayer::new(name_session));
    let listener = tokio::net::TcpListener::bind(address).await?;
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

fn all_concerns() -> Result<GuardConfig, serde_json::Error> {
    serde_json::from_value(json!({
        "rate_limits": [
            {"name": "per-client", "key": ["client"], "rate": "1000000/s", "burst": 1_000_000},
            {"name": "per-tool", "key": ["client", "tool"], "match": {"method": "tools/call"}, "rate": "1000000/s",
             "burst": 1_000_000},
        ],
        "validation": {"messages": "enforce", "arguments": "enforce", "results": "report"},
        "queue": {"concurrency": 256, "adaptive": true, "waiting": 1024, "max_wait": "2s"},
        "breaker": {"consecutive_failures": 5, "failure_rate": 0.5, "window": "10s", "minimum_calls": 10, "open": "30s"},
        "retry": {"attempts": 3, "base": "50ms", "cap": "2s", "budget": 0.2},
    }))
}

fn name_client(mut request: Request) -> Request {
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>().copied() {
        request.extensions_mut().insert(Client(peer.ip()));
    }
    request
}

/// The load wants a session, which a server has none of that answers in JSON.
fn name_session(mut response: Response) -> Response {
    response.headers_mut().insert("mcp-session-id", HeaderValue::from_static("none"));
    response
}

struct Repeater;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Repeat {
    text: String,
    #[expect(dead_code, reason = "sent by the load, and checked")]
    times: Option<u32>,
    #[expect(dead_code, reason = "sent by the load, and checked")]
    tags: Option<Vec<String>>,
}

#[tool_router]
impl Repeater {
    #[tool(description = "Says the same")]
    async fn repeat(&self, Parameters(Repeat { text, .. }): Parameters<Repeat>) -> String {
        text
    }
}

#[tool_handler]
impl ServerHandler for Repeater {}
