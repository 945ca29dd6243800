//! Clients made with the official SDKs, through the guard, to servers made with the official SDKs.

use std::process::Command;

use mcp_guard_tests::peers::{Peer, Peers};
use mcp_guard_tests::{Guard, free_address};
use rmcp::model::{CallToolRequestParams, ProgressNotificationParam, ProtocolVersion};
use rmcp::service::{NotificationContext, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");
const LEGACY: &str = "2025-11-25";
const STATELESS: &str = "2026-07-28";

/// What a client is expected to see.
struct Expected<'a> {
    /// The server's name; a client that is told to speak 2026-07-28 does not ask for it.
    server: Option<&'a str>,
    revision: &'a str,
    sum: &'a str,
}

/// Asserts that a client went through all its steps and saw what it should.
#[track_caller]
fn assert_steps(lines: &[Value], expected: &Expected<'_>) {
    let names: Vec<&str> = lines.iter().filter_map(|line| line["step"].as_str()).collect();
    assert_eq!(names, ["connect", "list", "call", "bad", "progress", "close"], "{lines:?}");
    let [connect, list, call, bad, progress, _close] = lines else { unreachable!("six steps") };
    assert_eq!((&connect["server"], &connect["revision"]), (&json!(expected.server), &json!(expected.revision)));
    assert!(list["tools"].as_array().unwrap().contains(&json!(expected.sum)), "{list}");
    assert!(call["text"].as_str().unwrap().contains('5'), "{call}");
    // The guard's own refusal, which a model can read: it says where and which rule, and never the value.
    assert_eq!(bad["isError"], true, "{bad}");
    let text = bad["text"].as_str().unwrap();
    assert!(text.contains("/b") && !text.contains("secret"), "{bad}");
    assert_eq!(progress["isError"], false, "{progress}");
    assert!(progress["seen"].as_array().unwrap().len() >= 2, "{progress}");
}

fn rmcp(revision: &str) -> Expected<'_> {
    Expected { server: Some("conformance-node"), revision, sum: "add" }
}

fn everything(revision: &str) -> Expected<'_> {
    Expected { server: Some("mcp-servers/everything"), revision, sum: "get-sum" }
}

fn python(revision: &str) -> Expected<'_> {
    Expected { server: Some("python-node"), revision, sum: "add" }
}

/// Runs every client that is a script against `url`, each in the modes it knows.
#[track_caller]
fn scripts(peers: &Peers, url: &str, node: &str, by_mode: &[(&str, Expected<'_>)]) {
    for (mode, expected) in by_mode {
        assert_steps(&peers.node("client.mjs", &[url, mode, node]), expected);
        assert_steps(&peers.python("client.py", &[url, mode, node]), expected);
        if *mode == "legacy" {
            assert_steps(&peers.node("sdk.mjs", &[url, mode, node]), expected);
        }
    }
}

#[test]
fn scripted_clients_reach_a_rust_server_over_http() {
    let Some(peers) = Peers::find(&["node", "typescript", "python"]) else { return };
    let node = Peer::conformance_node(NODE);
    let guard = Guard::run(PROGRAM, &["--upstream", &node.url()]);
    scripts(&peers, &guard.url(), "rmcp", &[("legacy", rmcp(LEGACY)), ("auto", rmcp(STATELESS))]);
    let unasked = Expected { server: None, ..rmcp(STATELESS) };
    assert_steps(&peers.node("client.mjs", &[&guard.url(), "modern", "rmcp"]), &rmcp(STATELESS));
    assert_steps(&peers.python("client.py", &[&guard.url(), "modern", "rmcp"]), &unasked);
}

#[test]
fn scripted_clients_reach_a_typescript_server_over_http() {
    let Some(peers) = Peers::find(&["node", "typescript", "python"]) else { return };
    let node = peers.server_everything();
    let guard = Guard::run(PROGRAM, &["--upstream", &node.url()]);
    scripts(&peers, &guard.url(), "everything", &[("legacy", everything(LEGACY)), ("auto", everything(STATELESS))]);
}

#[test]
fn scripted_clients_reach_a_rust_node_on_stdio() {
    let Some(peers) = Peers::find(&["node", "typescript", "python"]) else { return };
    let guard = Guard::run(PROGRAM, &["--", NODE, "--stdio"]);
    scripts(&peers, &guard.url(), "rmcp", &[("legacy", rmcp(LEGACY)), ("auto", rmcp(STATELESS))]);
}

#[test]
fn scripted_clients_reach_a_python_node_on_stdio() {
    let Some(peers) = Peers::find(&["node", "typescript", "python"]) else { return };
    let program = peers.python_program().display().to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/node.py");
    let guard = Guard::run(PROGRAM, &["--", &program, script]);
    scripts(&peers, &guard.url(), "python", &[("legacy", python(LEGACY)), ("auto", python(STATELESS))]);
}

#[test]
fn scripted_clients_reach_a_rust_node_over_the_sse_of_2024_and_a_web_socket() {
    let Some(peers) = Peers::find(&["node", "typescript", "python"]) else { return };
    let listener = "{sse_path: /mcp/sse, web_socket_path: /mcp/ws}";
    let yaml = format!("listeners: [{listener}]\nupstreams: [{{command: [{NODE}, --stdio]}}]");
    let guard = Guard::with_config(PROGRAM, &yaml);
    let sse = format!("{}/sse", guard.url());
    let socket = format!("{}/ws", guard.url().replace("http:", "ws:"));
    assert_steps(&peers.node("sdk.mjs", &[&sse, "legacy", "rmcp"]), &rmcp(LEGACY));
    assert_steps(&peers.node("sdk.mjs", &[&socket, "legacy", "rmcp"]), &rmcp(LEGACY));
    assert_steps(&peers.python("client.py", &[&sse, "legacy", "rmcp"]), &rmcp(LEGACY));
}

#[test]
fn scripted_clients_reach_typescript_and_python_nodes_that_speak_the_sse_of_2024() {
    let Some(peers) = Peers::find(&["node", "typescript", "python"]) else { return };
    let node = peers.server_everything_over("sse");
    let guard = Guard::run(PROGRAM, &["--upstream", &format!("sse+http://{}/sse", node.address())]);
    scripts(&peers, &guard.url(), "everything", &[("legacy", everything(LEGACY))]);
    let address = free_address();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/node.py");
    let port = address.port().to_string();
    let _node = Peer::start(Command::new(peers.python_program()).args([script, &port]), address);
    let guard = Guard::run(PROGRAM, &["--upstream", &format!("sse+http://{address}/sse")]);
    scripts(&peers, &guard.url(), "python", &[("legacy", python(LEGACY))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_client_reaches_a_rust_server_over_http_and_on_stdio() {
    let node = Peer::conformance_node(NODE);
    let http = Guard::run(PROGRAM, &["--upstream", &node.url()]);
    let stateless = vec![ProtocolVersion::V_2026_07_28];
    let auto = ClientLifecycleMode::Auto { preferred_versions: stateless.clone(), legacy_version: None };
    let discover = ClientLifecycleMode::Discover { preferred_versions: stateless };
    assert_steps(&rust_client(&http.url(), ClientLifecycleMode::Initialize).await, &rmcp(LEGACY));
    assert_steps(&rust_client(&http.url(), discover).await, &rmcp(STATELESS));
    assert_steps(&rust_client(&http.url(), auto.clone()).await, &rmcp(STATELESS));
    let stdio = Guard::run(PROGRAM, &["--", NODE, "--stdio"]);
    assert_steps(&rust_client(&stdio.url(), ClientLifecycleMode::Initialize).await, &rmcp(LEGACY));
    assert_steps(&rust_client(&stdio.url(), auto).await, &rmcp(STATELESS));
}

/// The same steps as the scripts', with the Rust SDK.
async fn rust_client(url: &str, mode: ClientLifecycleMode) -> Vec<Value> {
    let (tell, mut told) = tokio::sync::mpsc::channel(16);
    let transport = StreamableHttpClientTransport::from_uri(url.to_owned());
    let client = RustClient { progress: tell }.serve_with_lifecycle(transport, mode).await.expect("it connects");
    let info = client.peer_info().expect("the server says who it is").clone();
    let tools = client.list_all_tools().await.expect("a list");
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    let call = async |name: &'static str, arguments: Value| {
        let mut params = CallToolRequestParams::new(name);
        params.arguments = arguments.as_object().cloned();
        client.call_tool(params).await.map(|result| serde_json::to_value(result).expect("JSON"))
    };
    let sum = call("add", json!({"a": 2, "b": 3})).await.expect("a sum");
    let bad = match call("add", json!({"a": 2, "b": "a secret"})).await {
        Ok(result) => json!({"step": "bad", "isError": result["isError"], "text": result["content"][0]["text"]}),
        Err(ServiceError::McpError(error)) => json!({"step": "bad", "code": error.code.0, "text": error.message}),
        Err(error) => panic!("{error}"),
    };
    let last = call("test_tool_with_progress", json!({})).await.expect("a result");
    let mut seen = Vec::new();
    while let Ok(progress) = told.try_recv() {
        seen.push(progress);
    }
    client.cancel().await.expect("it closes");
    vec![
        json!({"step": "connect", "server": info.server_info.as_ref().map(|server| &server.name), "revision": info.protocol_version}),
        json!({"step": "list", "tools": names}),
        json!({"step": "call", "text": sum["content"][0]["text"]}),
        bad,
        json!({"step": "progress", "isError": last["isError"].as_bool().unwrap_or_default(), "seen": seen}),
        json!({"step": "close"}),
    ]
}

/// Keeps the progress that it is told of.
struct RustClient {
    progress: tokio::sync::mpsc::Sender<f64>,
}

impl ClientHandler for RustClient {
    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.send(params.progress).await.expect("somebody counts");
    }
}
