//! Clients of one era and a node of the other, where the suites and the matrix of transports do not look.

use std::time::Duration;

use mcp_guard_tests::peers::Peer;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, call_tool, patiently, request, send, send_to};
use rmcp::model::CallToolRequestParams;
use rmcp::service::{NotificationContext, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{ClientHandler, RoleClient, ServiceExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");
const DEADLINE: Duration = Duration::from_secs(20);

/// A legacy client that notes when tools have changed.
struct Legacy(mpsc::Sender<()>);

impl ClientHandler for Legacy {
    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        let _ = self.0.send(()).await;
    }
}

async fn legacy_client(guard: &Guard) -> (RunningService<RoleClient, Legacy>, mpsc::Receiver<()>) {
    let (changed, heard) = mpsc::channel(8);
    let client = Legacy(changed).serve(StreamableHttpClientTransport::from_uri(guard.url())).await;
    (client.expect("it connects"), heard)
}

/// A guard in front of a real node that speaks nothing but 2026-07-28.
fn stateless_node() -> (Peer, Guard) {
    let node = Peer::conformance_node_over(NODE, "--modern");
    let guard = Guard::run(PROGRAM, &["--upstream", &node.url()]);
    (node, guard)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_client_hears_what_a_stateless_node_says_of_its_own_accord() {
    let (_node, guard) = stateless_node();
    let (client, mut heard) = legacy_client(&guard).await;
    let changes = async {
        loop {
            // The client listens a moment after it has begun.
            let call = client.call_tool(CallToolRequestParams::new("test_trigger_tool_change"));
            call.await.expect("a result");
            if tokio::time::timeout(Duration::from_millis(200), heard.recv()).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, changes).await.expect("it hears of a change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_client_calls_a_tool_that_wants_an_argument_in_a_header() {
    let (_node, guard) = stateless_node();
    let (client, _heard) = legacy_client(&guard).await;
    let mut params = CallToolRequestParams::new("test_x_mcp_header");
    params.arguments = json!({"region": "z\u{fc}rich"}).as_object().cloned();
    let result = client.call_tool(params).await.expect("a result");
    let result = serde_json::to_value(result).expect("JSON");
    assert_eq!(result["content"][0]["text"], "z\u{fc}rich");
}

/// Opens a session with a node that is said to be stateless.
fn session(guard: &Guard) -> String {
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
    let begun = send(guard.listen, &[("mcp-protocol-version", "")], request(1, "initialize", params).to_string());
    assert_eq!(begun.json()["result"]["protocolVersion"], "2025-11-25", "{}", begun.text());
    begun.header("mcp-session-id").expect("a session").to_owned()
}

#[test]
fn who_cancels_a_call_closes_the_answer_of_a_stateless_node() {
    let (upstream, events) = Upstream::streaming("tools/call");
    let guard = Guard::with_config(PROGRAM, &format!("upstreams: [{{url: '{}', era: stateless}}]", upstream.url()));
    let session = session(&guard);
    std::thread::scope(|scope| {
        let headers = [("mcp-session-id", session.as_str())];
        let call = scope.spawn(move || send(guard.listen, &headers, call_tool(7, "echo", json!({})).to_string()));
        patiently("the node is called", || upstream.calls() == 1);
        let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}});
        assert_eq!(send(guard.listen, &headers, cancelled.to_string()).status, 202);
        patiently("the node's connection is closed", || events.is_closed());
        call.join().expect("it is answered");
    });
    let called: Vec<Value> = upstream.seen().into_iter().map(|(_, message)| message).collect();
    assert!(called.iter().all(|message| message["method"] != "notifications/cancelled"), "{called:?}");
}

#[test]
fn a_session_with_a_stateless_node_is_gone_once_it_has_ended() {
    let (_node, guard) = stateless_node();
    let session = session(&guard);
    let headers = [("mcp-session-id", session.as_str())];
    assert_eq!(send(guard.listen, &headers, request(2, "ping", json!({})).to_string()).status, 200);
    let ended = send_to(guard.listen, "DELETE", "/mcp", &headers, "");
    assert_eq!(ended.status, 204);
    let gone = send(guard.listen, &headers, request(3, "ping", json!({})).to_string());
    assert_eq!((gone.status, gone.reason().as_deref()), (404, Some("session_not_found")));
}

#[test]
fn where_nothing_is_to_be_translated_a_node_with_sessions_says_so() {
    let guard = Guard::with_config(PROGRAM, &format!("upstreams: [{{command: [{NODE}, --stdio], era: as_is}}]"));
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}});
    let asked = |method: &str| {
        let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)];
        send(guard.listen, &headers, request(1, method, json!({"_meta": meta})).to_string())
    };
    assert_eq!(
        (asked("server/discover").status, asked("server/discover").json()["error"]["code"].as_i64()),
        (404, Some(-32601))
    );
    assert_eq!((asked("tools/list").status, asked("tools/list").json()["error"]["code"].as_i64()), (400, Some(-32022)));
}
