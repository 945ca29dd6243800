//! A node that fails as it is told, byte by byte, with a secret in all that it says.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use mcp_guard_tests::Wire;
use serde_json::{Value, json};

use crate::secret::Secret;

/// A running node; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct FailingNode {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    secret: Secret,
    seen: Mutex<String>,
    /// Calls that are never answered, until the end.
    hung: Mutex<Vec<Wire>>,
}

/// Its tools: how the answer to a call of each fails.
pub(crate) const TOOLS: [&str; 12] = [
    "cut_head",
    "cut_body",
    "cut_event",
    "cut_at_once",
    "no_http",
    "bad_head",
    "not_json",
    "bad_event",
    "wrong_id",
    "too_large",
    "status",
    "hang",
];

/// What answers a call with an error, or a result that breaks its schema: passed on.
pub(crate) const PASSED: [&str; 3] = ["error", "tool_error", "bad_result"];

impl FailingNode {
    /// Starts it; `secret` is in all that it says.
    pub(crate) fn start(secret: Secret) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let is_over = Arc::new(AtomicBool::new(false));
        let shared = Arc::new(Shared { secret, seen: Mutex::default(), hung: Mutex::default() });
        let accepting = std::thread::spawn({
            let (is_over, shared) = (Arc::clone(&is_over), Arc::clone(&shared));
            move || {
                for stream in listener.incoming() {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    let stream = stream.expect("a connection");
                    std::thread::spawn(move || shared.serve(stream));
                }
            }
        });
        Self { address, is_over, shared, accepting: Some(accepting) }
    }

    /// The URL of its MCP endpoint.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The heads and messages that came.
    pub(crate) fn seen(&self) -> String {
        self.shared.seen.lock().expect("not poisoned").clone()
    }
}

impl Drop for FailingNode {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // It waits for a connection.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Shared {
    /// Serves one request, and closes.
    fn serve(&self, stream: TcpStream) {
        let mut wire = Wire::new(stream);
        // A probe of the port says nothing.
        if wire.is_closed() {
            return;
        }
        let request = wire.message();
        let text = format!("{:?} {}\n", request.headers, request.text());
        self.seen.lock().expect("not poisoned").push_str(&text);
        let message = request.json();
        let tool = message["params"]["name"].as_str().unwrap_or_default();
        match self.answer(&message, tool) {
            Some(answer) => wire.write(answer),
            None => self.hung.lock().expect("not poisoned").push(wire),
        }
    }

    fn answer(&self, message: &Value, tool: &str) -> Option<String> {
        let (secret, token) = (self.secret.prose(), self.secret.text());
        let answer =
            |payload: &str, value: Value| json!({"jsonrpc": "2.0", "id": message["id"], payload: value}).to_string();
        let text = |id: &Value| {
            let result = json!({"content": [{"type": "text", "text": secret}]});
            json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
        };
        let head = format!("HTTP/1.1 200 OK\r\nx-secret: {token}\r\nconnection: close\r\n");
        let whole = |kind: &str, body: &str| {
            format!("{head}content-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        };
        let json = |body: &str| whole("application/json", body);
        let good = text(&message["id"]);
        let half = &good[..good.len() - 4];
        Some(match tool {
            "cut_head" => head,
            "cut_body" => format!("{head}content-type: application/json\r\ncontent-length: 9999\r\n\r\n{good}"),
            "cut_event" => {
                let event = format!("event: message\ndata: {half}");
                // What has begun is passed on with its head.
                let head = head.replace(&token, "passed on");
                let fields = "content-type: text/event-stream\r\ntransfer-encoding: chunked";
                format!("{head}{fields}\r\n\r\n{:x}\r\n{event}", event.len() + 9)
            }
            "cut_at_once" => String::new(),
            "no_http" => format!("SSH-2.0-{token}\r\n"),
            "bad_head" => format!("HTTP/1.1 200 OK\r\n{token} {token}\r\n\r\n"),
            "not_json" => json(&format!("{token} {half}")),
            "bad_event" => {
                let passed_on = format!("data: {half}\n\ndata: {token}\n\n");
                whole("text/event-stream", &passed_on).replacen(&token, "passed on", 1)
            }
            "wrong_id" => json(&text(&token.as_str().into())),
            "too_large" => json(&good.replace(&token[..16], &token.repeat(2000))),
            "status" => whole("text/plain", &secret).replace("200 OK", "500 Internal Server Error"),
            "hang" => return None,
            "error" => json(&answer("error", json!({"code": -32603, "message": secret, "data": {&token: secret}}))),
            "tool_error" => {
                json(&answer("result", json!({"content": [{"type": "text", "text": secret}], "isError": true})))
            }
            "bad_result" => {
                let wrong = json!({"content": [], "structuredContent": {"n": secret, &token: token}});
                json(&answer("result", wrong))
            }
            _ => json(&answer("result", self.about(message))),
        })
    }

    /// The result of what is no call.
    fn about(&self, message: &Value) -> Value {
        match message["method"].as_str() {
            Some("tools/list") => json!({"tools": self.tools()}),
            Some("initialize") => json!({
                "protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": self.secret.text(), "version": self.secret.text()}, "instructions": self.secret.prose(),
            }),
            _ => json!({}),
        }
    }

    fn tools(&self) -> Vec<Value> {
        let open = json!({"type": "object", "description": self.secret.prose(), "default": {"a": self.secret.text()}});
        let numbers = json!({"type": "object", "properties": {"n": {"type": "number", "default": self.secret.text()}}});
        let tool = |name: &&str| match *name {
            "bad_result" => json!({"name": name, "inputSchema": open, "outputSchema": numbers}),
            _ => json!({"name": name, "inputSchema": open, "description": self.secret.prose()}),
        };
        let mut tools: Vec<_> = TOOLS.iter().chain(&PASSED).map(tool).collect();
        for (name, schema) in [
            ("bad_type", json!({"type": self.secret.text()})),
            (
                "bad_pattern",
                json!({"type": "object", "properties": {"a": {"pattern": format!("({}", self.secret.text())}}}),
            ),
            ("bad_reference", json!({"$ref": format!("#/{}", self.secret.text())})),
            ("far_reference", json!({"$ref": format!("http://127.0.0.1:1/{}", self.secret.text())})),
        ] {
            tools.push(json!({"name": name, "inputSchema": schema}));
        }
        tools
    }
}
