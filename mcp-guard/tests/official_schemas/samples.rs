//! Valid params by hand, with every optional member there, for the mutations to start from.

use mcp_guard::revision::Revision;
use serde_json::{Value, json};

/// What any member is replaced by: each type of JSON, in the shapes that tell types apart.
pub(crate) fn replacements() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(1),
        json!(1.0),
        json!(1.5),
        json!(-1),
        json!("x"),
        json!([]),
        json!(["x"]),
        json!([1.5]),
        json!({}),
        json!({"x": "y"}),
        json!({"x": null}),
        json!({"x": {}}),
    ]
}

/// What is added as an unknown member, or at the end of an array.
pub(crate) fn additions() -> Vec<Value> {
    vec![json!(null), json!(1.5), json!("x"), json!(["x"]), json!({}), json!({"x": [null]})]
}

/// Params of a method that no schema knows.
pub(crate) fn stranger() -> Value {
    json!({"_meta": {"progressToken": "t", "traceparent": "00"}, "deep": {"er": [1, {"x": null}]}})
}

/// Valid params of `method`, several where the schema has branches.
pub(crate) fn of(revision: Revision, method: &str) -> Vec<Value> {
    let own = match method {
        "initialize" => vec![initialize()],
        "tools/call" => {
            vec![json!({"name": "add", "arguments": {"a": 1, "b": [null, {"c": 1.5}]}, "task": {"ttl": 60_000}})]
        }
        "prompts/get" => vec![json!({"name": "review", "arguments": {"code": "x"}})],
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            vec![json!({"uri": "file:///a"}), json!({"uri": "not a uri"})]
        }
        "completion/complete" => complete(),
        "logging/setLevel" => {
            let levels = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
            levels.iter().map(|level| json!({"level": level})).collect()
        }
        "tasks/get" | "tasks/result" | "tasks/cancel" => vec![json!({"taskId": "t-1"})],
        "subscriptions/listen" => vec![json!({"notifications": {
            "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": false,
            "resourceSubscriptions": ["file:///a"],
        }})],
        "notifications/cancelled" => vec![json!({"requestId": 1, "reason": "late"}), json!({"requestId": "a"})],
        "notifications/progress" => {
            vec![json!({"progressToken": "t", "progress": 0.5, "total": 1, "message": "half"})]
        }
        "notifications/tasks/status" => ["working", "input_required", "completed", "failed", "cancelled"]
            .iter()
            .map(|status| {
                json!({"taskId": "t-1", "status": status, "statusMessage": "m", "createdAt": "now",
                       "lastUpdatedAt": "now", "ttl": null, "pollInterval": 500})
            })
            .collect(),
        "ping" | "server/discover" | "notifications/initialized" | "notifications/roots/list_changed" => {
            vec![json!({})]
        }
        list if list.ends_with("/list") => vec![json!({"cursor": "c"})],
        _ => vec![],
    };
    let mut all: Vec<_> = own.into_iter().map(|params| with_meta(revision, method, params)).collect();
    if revision.is_stateless() && ["tools/call", "prompts/get", "resources/read"].contains(&method) {
        all.extend(rounds(&all[0]));
    }
    all
}

fn with_meta(revision: Revision, method: &str, mut params: Value) -> Value {
    params["_meta"] = match (revision.is_stateless(), method.starts_with("notifications/")) {
        (true, true) => json!({"io.modelcontextprotocol/subscriptionId": 1}),
        (true, false) => json!({
            "progressToken": 7,
            "traceparent": "00-0-0-00",
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": program(),
            "io.modelcontextprotocol/clientCapabilities": {
                "experimental": {"x": {"y": [1, {"z": true}]}},
                "extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html"]}},
                "roots": {"listChanged": true},
                "sampling": {"context": {}, "tools": {"x": "y"}},
                "elicitation": {"form": {}, "url": {}},
            },
            "io.modelcontextprotocol/logLevel": "info",
        }),
        (false, _) => json!({"progressToken": "t", "traceparent": "00-0-0-00"}),
    };
    params
}

fn program() -> Value {
    json!({
        "name": "client", "version": "1", "title": "Client", "description": "d", "websiteUrl": "https://example.com",
        "icons": [{"src": "https://example.com/i", "mimeType": "image/png", "sizes": ["any"], "theme": "dark"},
                  {"src": "https://example.com/j", "theme": "light"}],
    })
}

fn initialize() -> Value {
    json!({
        "protocolVersion": "2025-11-25",
        "clientInfo": program(),
        "capabilities": {
            "experimental": {"x": {"y": null}},
            "roots": {"listChanged": true},
            "sampling": {"context": {}, "tools": {}},
            "elicitation": {"form": {}, "url": {}},
            "tasks": {
                "list": {}, "cancel": {},
                "requests": {"sampling": {"createMessage": {}}, "elicitation": {"create": {}}},
            },
        },
    })
}

fn complete() -> Vec<Value> {
    let with = |reference: Value| json!({"ref": reference, "argument": {"name": "language", "value": "py"}, "context": {"arguments": {"a": "b"}}});
    vec![
        with(json!({"type": "ref/prompt", "name": "review", "title": "Review"})),
        with(json!({"type": "ref/resource", "uri": "file:///{path}"})),
        with(json!({"type": "ref/prompt", "name": "review", "uri": "file:///{path}"})),
        with(json!({"type": "ref/resource", "uri": "file:///{path}", "name": "review", "title": "Review"})),
    ]
}

/// `params` with the client's answers to each sort of question, and mixtures of them.
fn rounds(params: &Value) -> Vec<Value> {
    let mut answers = vec![
        json!({"action": "accept", "content": {"a": "x", "b": 1, "c": true, "d": ["x", "y"]}}),
        json!({"action": "decline"}),
        json!({"roots": [{"uri": "file:///a", "name": "a", "_meta": {}}]}),
        json!({"action": "cancel", "roots": [{"uri": "file:///a"}], "model": "m", "role": "user", "content": {"a": "x"}}),
    ];
    answers.extend(blocks().into_iter().map(sampled));
    answers.push(sampled(Value::Array(blocks())));
    let with = |answer: Value| {
        let mut params = params.clone();
        params["requestState"] = json!("s");
        params["inputResponses"] = json!({"q": answer});
        // What earlier samples already cover only makes the rest less likely to be drawn.
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        params
    };
    answers.into_iter().map(with).collect()
}

fn sampled(content: Value) -> Value {
    json!({"role": "assistant", "model": "m", "stopReason": "endTurn", "content": content, "_meta": {}})
}

fn blocks() -> Vec<Value> {
    let notes = json!({"audience": ["user", "assistant"], "lastModified": "now", "priority": 0.5});
    let text = json!({"type": "text", "text": "x", "annotations": notes, "_meta": {}});
    let image = json!({"type": "image", "data": "AA==", "mimeType": "image/png", "annotations": notes, "_meta": {}});
    let audio = json!({"type": "audio", "data": "AA==", "mimeType": "audio/wav", "annotations": notes, "_meta": {}});
    let link = json!({
        "type": "resource_link", "name": "a", "uri": "file:///a", "title": "A", "description": "d",
        "mimeType": "text/plain", "size": 1, "icons": program()["icons"], "annotations": notes, "_meta": {},
    });
    let resource =
        |contents: Value| json!({"type": "resource", "resource": contents, "annotations": notes, "_meta": {}});
    let written = resource(json!({"uri": "file:///a", "mimeType": "text/plain", "text": "x", "_meta": {}}));
    let binary = resource(json!({"uri": "file:///a", "mimeType": "image/png", "blob": "AA==", "_meta": {}}));
    let both = resource(json!({"uri": "file:///a", "text": "x", "blob": "AA=="}));
    // Valid as any sort of block, so that only `type` says which it is.
    let everything = json!({
        "type": "text", "text": "x", "data": "AA==", "mimeType": "image/png", "id": "1", "name": "a", "input": {},
        "toolUseId": "1", "content": [], "uri": "file:///a", "resource": {"uri": "file:///a", "text": "x"},
    });
    let usage = json!({"type": "tool_use", "id": "1", "name": "add", "input": {"a": null}, "_meta": {}});
    let result = json!({
        "type": "tool_result", "toolUseId": "1", "isError": false, "structuredContent": null, "_meta": {},
        "content": [text, image, audio, link, written, binary, both, everything],
    });
    vec![text, image, audio, usage, result, everything]
}
