//! The guard's layers around a node in memory that has as many tools, and of such a schema, as asked.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use mcp_guard::GuardLayer;
use mcp_guard::config::GuardConfig;
use mcp_guard::middleware::{Client, McpRequest, Upstream, UpstreamError};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt};

use crate::{Fault, clock};

/// The guard with its node, on this thread.
pub(super) struct World {
    runtime: Runtime,
    service: <GuardLayer as Layer<Tools>>::Service,
}

/// What tells one call from the next.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) client: u32,
    pub(super) session: String,
    pub(super) revision: &'static str,
    pub(super) body: Bytes,
}

impl Default for Call {
    fn default() -> Self {
        Self { client: 0, session: "s".into(), revision: "2025-11-25", body: small_body("tool-0") }
    }
}

/// A call of `tool` in some 100 bytes.
pub(super) fn small_body(tool: &str) -> Bytes {
    let params = json!({"name": tool, "arguments": {"text": "The quick brown fox"}});
    Bytes::from(json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}).to_string())
}

/// The schema of most tools.
pub(super) fn small_schema() -> Value {
    json!({"type": "object", "properties": {"text": {"type": "string"}, "times": {"type": "integer"}}, "required": ["text"]})
}

impl World {
    /// A guard with `rules` as its rate limits, before a node whose `tools` are called `tool-0` and so on.
    pub(super) fn new(rules: &Value, tools: usize, schema: &Value) -> Result<Self, Fault> {
        let config = json!({
            "rate_limits": rules,
            "limits": {"body": "8MiB", "response": "64MiB"},
            "validation": {"compile_time": "10s", "list_timeout": "30s", "refresh": "1h"},
        });
        let config: GuardConfig = serde_json::from_value(config)?;
        let tools: Vec<Value> =
            (0..tools).map(|number| json!({"name": format!("tool-{number}"), "inputSchema": schema})).collect();
        let node = Tools { list: Arc::from(json!({"tools": tools}).to_string()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, service: GuardLayer::new(config).layer(node) })
    }

    /// Nanoseconds of each of `calls`, all of which must be answered with `status` and, if that is 200, without an error.
    pub(super) fn time(&self, calls: &[Call], status: u16) -> Result<Vec<u64>, Fault> {
        self.runtime.block_on(async {
            let mut nanos = Vec::with_capacity(calls.len());
            for call in calls {
                let (request, service) = (request(call), self.service.clone());
                let start = clock::now();
                let Ok(response) = service.oneshot(request).await;
                let found = response.status().as_u16();
                let body = response.into_body().collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
                nanos.push(u64::try_from((clock::now() - start).as_nanos())?);
                let is_wrong =
                    found == 200 && body.windows(9).any(|part| part == br#"rror":tru"# || part == br#"},"error""#);
                if found != status || is_wrong {
                    return Err(format!("{found}: {}", String::from_utf8_lossy(&body)).into());
                }
            }
            Ok(nanos)
        })
    }

    /// A call that breaks the schema must be noticed: one that was too large is not used.
    pub(super) fn prove_validation(&self) -> Result<(), Fault> {
        let wrong = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "tool-0", "arguments": {"text": 7}}});
        let wrong = Call { body: Bytes::from(wrong.to_string()), ..Call::default() };
        if self.time(&[wrong], 200).is_ok() { Err("wrong arguments were not refused".into()) } else { Ok(()) }
    }
}

fn request(call: &Call) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from(call.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static("/mcp");
    request.extensions_mut().insert(Client(IpAddr::V4(Ipv4Addr::from_bits(call.client))));
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert("mcp-protocol-version", HeaderValue::from_static(call.revision));
    // Sessions are made of letters and digits here.
    headers.extend(HeaderValue::from_str(&call.session).map(|session| (SESSION, session)));
    request
}

const SESSION: http::HeaderName = http::HeaderName::from_static("mcp-session-id");

/// A node that lists its tools and answers whatever else it is asked in a few words.
struct Tools {
    list: Arc<str>,
}

impl Upstream for Tools {
    type Body = Full<Bytes>;

    async fn send(&self, request: McpRequest) -> Result<Response<Full<Bytes>>, UpstreamError> {
        let id = id_of(&request.body);
        let body = if id.starts_with('"') {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}}}"#, self.list)
        } else {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"isError":false}}}}"#)
        };
        let mut response = Response::new(Full::from(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }
}

/// The id in a message that begins like those here and the guard's own; the guard's are text.
fn id_of(body: &[u8]) -> &str {
    let start = str::from_utf8(body.get(..64).unwrap_or(body)).unwrap_or_default();
    let id = start.split_once(r#""id":"#).and_then(|(_, rest)| rest.split_once(','));
    id.map_or("null", |(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_pass_and_wrong_ones_are_noticed() {
        let world = World::new(&json!([]), 3, &small_schema()).unwrap();
        assert_eq!(world.time(&vec![Call::default(); 2], 200).unwrap().len(), 2);
        world.prove_validation().unwrap();
        let unchecked = World::new(&json!([]), 1, &json!({})).unwrap();
        assert!(unchecked.prove_validation().is_err());
    }

    #[test]
    fn ids_are_found_in_numbers_and_texts() {
        assert_eq!(id_of(br#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#), "7");
        assert_eq!(
            id_of(br#"{"jsonrpc":"2.0","id":"mcp-guard-list-1","method":"tools/list"}"#),
            r#""mcp-guard-list-1""#
        );
    }
}
