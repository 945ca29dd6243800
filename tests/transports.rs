//! Whatever a node speaks, its clients see Streamable HTTP: each step of the protocol, over each transport.
#![expect(deprecated, reason = "legacy nodes ask their clients for samples, and log to them")]

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use mcp_guard_tests::peers::Peer;
use mcp_guard_tests::{Guard, patiently};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, ClientRequest,
    CreateMessageRequestParams, CreateMessageResult, Implementation, LoggingMessageNotificationParam, SamplingMessage,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RequestContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
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

/// A guard in front of a node that listens over `transport`.
fn listening(transport: &str, url: impl FnOnce(&Peer) -> String) -> (Guard, Node) {
    let node = Peer::conformance_node_over(NODE, transport);
    (Guard::run(PROGRAM, &["--upstream", &url(&node)]), Node::Listens(node))
}

fn unix() -> (Guard, Node) {
    let folder = tempfile::tempdir().expect("a folder for the socket");
    let path = folder.path().join("node.sock");
    let process = Command::new(NODE).arg("--unix").arg(&path).spawn().expect("the node starts");
    patiently("the node listens", || Path::new(&path).exists());
    let url = format!("unix:{}", path.display());
    (Guard::run(PROGRAM, &["--upstream", &url]), Node::Unix(process, folder))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_over_streamable_http() {
    let (guard, _node) = listening("--listen", Peer::url);
    each_step(&guard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_over_the_sse_of_2024() {
    let (guard, _node) = listening("--sse", |node| format!("sse+http://{}/sse", node.address()));
    each_step(&guard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_over_a_web_socket() {
    let (guard, _node) = listening("--web-socket", |node| format!("ws://{}/mcp", node.address()));
    each_step(&guard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_that_knows_no_subprotocol_of_web_sockets() {
    let (guard, _node) = listening("--web-socket", |node| format!("ws://{}/ws", node.address()));
    each_step(&guard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_over_tcp() {
    let (guard, _node) = listening("--tcp", |node| format!("tcp://{}", node.address()));
    each_step(&guard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_over_a_unix_socket() {
    let (guard, _node) = unix();
    each_step(&guard).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_reaches_a_node_on_stdio() {
    let guard = Guard::run(PROGRAM, &["--", NODE, "--stdio"]);
    each_step(&guard).await;
}

/// Initialize, list, call, a notification of the node's, a request of the node's, cancel, close.
async fn each_step(guard: &Guard) {
    let (client, mut logged) = connect(guard).await;
    let server = client.peer_info().and_then(|info| info.server_info.clone()).expect("it says who it is");
    assert_eq!(server.name, "conformance-node");
    let tools = client.list_all_tools().await.expect("a list");
    assert!(tools.iter().any(|tool| tool.name == "add"));
    assert_eq!(text(&call(&client, "add", json!({"a": 2, "b": 3})).await), "5");
    call(&client, "test_tool_with_logging", json!({})).await;
    let first = tokio::time::timeout(DEADLINE, logged.recv()).await.expect("in time").expect("a notification");
    assert_eq!(first, json!("Tool execution started"));
    let sampled = call(&client, "test_sampling", json!({"prompt": "Who are you?"})).await;
    assert_eq!(text(&sampled), "LLM response: a client");
    cancelled(&client).await;
    assert_eq!(text(&call(&client, "add", json!({"a": 1, "b": 1})).await), "2", "the session goes on");
    client.cancel().await.expect("it closes");
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

async fn connect(guard: &Guard) -> (Client, mpsc::Receiver<Value>) {
    let (tell, told) = mpsc::channel(16);
    let transport = StreamableHttpClientTransport::from_uri(guard.url());
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
