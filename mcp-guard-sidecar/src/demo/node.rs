//! The demo's MCP server, made with the official Rust SDK: tools that behave and tools that don't.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{RoleServer, ServerHandler, tool, tool_handler, tool_router};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::TcpListener;

/// Starts the server on a loopback port of its own and says which.
///
/// # Errors
///
/// If no port can be bound.
pub(super) async fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener));
    Ok(address)
}

async fn serve(listener: TcpListener) {
    let node = DemoNode { flaps: Arc::default() };
    let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let service =
        StreamableHttpService::new(move || Ok(node.clone()), Arc::new(LocalSessionManager::default()), config);
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let service = service.clone();
        tokio::spawn(async move {
            let served = service_fn(move |request| answer(service.clone(), request));
            // A connection that ends in an error is what the crashing tools are for.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), served).await;
        });
    }
}

type McpService = StreamableHttpService<DemoNode, LocalSessionManager>;
type Answer = <McpService as tower::Service<Request<Incoming>>>::Response;

/// Answers, or cuts the connection if a tool asked for that.
async fn answer(mut service: McpService, mut request: Request<Incoming>) -> io::Result<Answer> {
    let crash = Crash::default();
    request.extensions_mut().insert(crash.clone());
    let response = match tower::Service::call(&mut service, request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    if crash.0.load(Ordering::Acquire) { Err(io::Error::other("a tool crashed")) } else { Ok(response) }
}

/// Set by a tool that wants its process to look dead.
#[derive(Clone, Default)]
struct Crash(Arc<AtomicBool>);

#[derive(Clone, Debug)]
struct DemoNode {
    flaps: Arc<AtomicUsize>,
}

#[derive(Deserialize, JsonSchema)]
struct Echo {
    /// What to say.
    text: String,
}

#[derive(Deserialize, JsonSchema)]
struct Add {
    /// One number.
    a: f64,
    /// Another.
    b: f64,
}

#[derive(Deserialize, JsonSchema)]
struct Sleep {
    /// How long, in milliseconds.
    #[schemars(range(min = 0, max = 60_000))]
    ms: u64,
}

#[tool_router]
impl DemoNode {
    #[tool(description = "Says what it was told", annotations(read_only_hint = true))]
    async fn echo(&self, Parameters(Echo { text }): Parameters<Echo>) -> String {
        text
    }

    #[tool(description = "Adds two numbers", annotations(read_only_hint = true))]
    async fn add(&self, Parameters(Add { a, b }): Parameters<Add>) -> String {
        (a + b).to_string()
    }

    #[tool(description = "Answers after a while")]
    async fn sleep(&self, Parameters(Sleep { ms }): Parameters<Sleep>) -> String {
        tokio::time::sleep(Duration::from_millis(ms.min(60_000))).await;
        format!("slept {ms} ms")
    }

    #[tool(description = "Answers that it could not, as a tool does")]
    async fn fail(&self) -> CallToolResult {
        CallToolResult::error(vec![ContentBlock::text("this tool always fails")])
    }

    #[tool(description = "Crashes at every second call, and is safe to repeat", annotations(read_only_hint = true))]
    async fn flap(&self, context: RequestContext<RoleServer>) -> String {
        if self.flaps.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            crash(&context);
        }
        "it worked".into()
    }

    #[tool(description = "Crashes")]
    async fn crash(&self, context: RequestContext<RoleServer>) -> String {
        crash(&context);
        "never seen".into()
    }
}

fn crash(context: &RequestContext<RoleServer>) {
    let parts = context.extensions.get::<http::request::Parts>();
    if let Some(crash) = parts.and_then(|parts| parts.extensions.get::<Crash>()) {
        crash.0.store(true, Ordering::Release);
    }
}

#[tool_handler]
impl ServerHandler for DemoNode {}
