//! Whatever a node speaks, and whatever its clients do: each step of the protocol, over each pair of transports.
#![expect(deprecated, reason = "legacy nodes ask their clients for samples, and log to them")]

mod clients;
mod doors;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use mcp_guard_tests::peers::Peer;
use mcp_guard_tests::{Guard, free_address, patiently};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, ClientRequest,
    CreateMessageRequestParams, CreateMessageResult, Implementation, LoggingMessageNotificationParam, SamplingMessage,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RequestContext, RunningService};
use rmcp::transport::{IntoTransport, StreamableHttpClientTransport};
use rmcp::{ClientHandler, ErrorData, RoleClient, ServiceExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");
const DEADLINE: Duration = Duration::from_secs(20);

/// A node that runs as long as this.
enum Node {
    Listens(#[expect(dead_code, reason = "ended when it is dropped")] Peer),
    Unix(Child, #[expect(dead_code, reason = "removed when it is dropped")] tempfile::TempDir),
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Self::Unix(process, _) = self {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A guard that serves each transport, in front of the node that `upstream` names.
struct Served {
    guard: Guard,
    lines: SocketAddr,
}

impl Served {
    fn new(upstream: &str) -> Self {
        let lines = free_address();
        let listeners = format!("[{{sse_path: /sse, web_socket_path: /ws}}, {{address: '{lines}', transport: lines}}]");
        let guard = Guard::with_config(PROGRAM, &format!("listeners: {listeners}\nupstreams: [{{{upstream}}}]"));
        Self { guard, lines }
    }

    /// A client over each transport, by its name.
    async fn clients(&self) -> Vec<(&'static str, Client, mpsc::Receiver<Value>)> {
        let listen = self.guard.listen;
        let (http, heard_over_http) = connect(StreamableHttpClientTransport::from_uri(self.guard.url())).await;
        let (sse, heard_over_sse) = connect(clients::sse(listen, "/sse").await).await;
        let (socket, heard_over_socket) = connect(clients::web_socket(listen, "/ws").await).await;
        let (lines, heard_over_lines) = connect(clients::lines(self.lines).await).await;
        vec![
            ("http", http, heard_over_http),
            ("sse", sse, heard_over_sse),
            ("web socket", socket, heard_over_socket),
            ("lines", lines, heard_over_lines),
        ]
    }
}

/// A node that listens over `transport`, and the guard in front of it.
fn listening(transport: &str, url: impl FnOnce(&Peer) -> String) -> (Served, Node) {
    let node = Peer::conformance_node_over(NODE, transport);
    (Served::new(&format!("url: '{}'", url(&node))), Node::Listens(node))
}

fn unix() -> (Served, Node) {
    let folder = tempfile::tempdir().expect("a folder for the socket");
    let path = folder.path().join("node.sock");
    let process = Command::new(NODE).arg("--unix").arg(&path).spawn().expect("the node starts");
    patiently("the node listens", || Path::new(&path).exists());
    (Served::new(&format!("url: 'unix:{}'", path.display())), Node::Unix(process, folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_over_streamable_http() {
    let (served, _node) = listening("--listen", Peer::url);
    each_step(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_over_streamable_http_in_sessions_of_the_guards_own() {
    let node = Peer::conformance_node(NODE);
    let served = Served::new(&format!("url: '{}', sessions: {{failover: reinitialize}}", node.url()));
    each_step(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_that_only_speaks_2026_07_28() {
    let (served, _node) = listening("--modern", Peer::url);
    each_step(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_over_the_sse_of_2024() {
    let (served, _node) = listening("--sse", |node| format!("sse+http://{}/sse", node.address()));
    each_step(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_over_a_web_socket() {
    let (served, _node) = listening("--web-socket", |node| format!("ws://{}/mcp", node.address()));
    each_step(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_that_knows_no_subprotocol_of_web_sockets() {
    let (served, _node) = listening("--web-socket", |node| format!("ws://{}/ws", node.address()));
    each_step(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_over_tcp() {
    let (served, _node) = listening("--tcp", |node| format!("tcp://{}", node.address()));
    each_step(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_over_a_unix_socket() {
    let (served, _node) = unix();
    each_step(&served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_on_stdio() {
    let served = Served::new(&format!("command: [{NODE}, --stdio]"));
    each_step(&served).await;
    // Who is gone leaves no session, by whatever way he came.
    patiently("no child is left", || served.guard.children().is_empty());
}

/// Initialize, list, call, a notification of the node's, a request of the node's, cancel, close, over each transport.
async fn each_step(served: &Served) {
    for (over, client, mut logged) in served.clients().await {
        let server = client.peer_info().and_then(|info| info.server_info.clone()).expect("it says who it is");
        assert_eq!(server.name, "conformance-node", "{over}");
        let tools = client.list_all_tools().await.expect("a list");
        assert!(tools.iter().any(|tool| tool.name == "add"), "{over}");
        assert_eq!(text(&call(&client, "add", json!({"a": 2, "b": 3})).await), "5", "{over}");
        call(&client, "test_tool_with_logging", json!({})).await;
        let first = tokio::time::timeout(DEADLINE, logged.recv()).await.expect("in time").expect("a notification");
        assert_eq!(first, json!("Tool execution started"), "{over}");
        let sampled = call(&client, "test_sampling", json!({"prompt": "Who are you?"})).await;
        assert_eq!(text(&sampled), "LLM response: a client", "{over}");
        cancelled(&client).await;
        assert_eq!(text(&call(&client, "add", json!({"a": 1, "b": 1})).await), "2", "the session goes on, {over}");
        client.cancel().await.expect("it closes");
    }
}

/// The node is told when a call is cancelled; what it does then is its own affair, so the session must go on.
async fn cancelled(client: &Client) {
    let mut params = CallToolRequestParams::new("sleep");
    params.arguments = json!({"ms": 60_000}).as_object().cloned();
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
    let waiting = client.send_cancellable_request(request, PeerRequestOptions::no_options()).await.expect("it is sent");
    waiting.cancel(Some("no longer wanted".into())).await.expect("it is cancelled");
}

type Client = RunningService<RoleClient, Handler>;

async fn connect<T, E, A>(transport: T) -> (Client, mpsc::Receiver<Value>)
where
    T: IntoTransport<RoleClient, E, A>,
    E: std::error::Error + From<std::io::Error> + Send + Sync + 'static,
{
    let (tell, told) = mpsc::channel(16);
    let client = tokio::time::timeout(DEADLINE, Handler { logged: tell }.serve(transport)).await;
    (client.expect("in time").expect("it connects"), told)
}

async fn call(client: &Client, name: &'static str, arguments: Value) -> Value {
    let mut params = CallToolRequestParams::new(name);
    params.arguments = arguments.as_object().cloned();
    let result = tokio::time::timeout(DEADLINE, client.call_tool(params)).await.expect("in time").expect("a result");
    serde_json::to_value(result).expect("JSON")
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().expect("a text")
}

/// A client that can be asked, and keeps what it is told.
#[derive(Clone)]
struct Handler {
    logged: mpsc::Sender<Value>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_sampling().build();
        ClientConfig::new(capabilities, Implementation::new("test", "1"))
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        Ok(CreateMessageResult::new(SamplingMessage::assistant_text("a client"), "a model".into()))
    }

    async fn on_logging_message(&self, params: LoggingMessageNotificationParam, _: NotificationContext<RoleClient>) {
        let _ = self.logged.send(params.data).await;
    }
}
