//! The whole guard around a service in memory: what a call costs beside its HTTP, and what it allocates.
//!
//! With a recorder of metrics, as in the sidecar.

#![expect(clippy::unwrap_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use divan::{AllocProfiler, Bencher};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use mcp_guard::GuardLayer;
use mcp_guard::config::GuardConfig;
use mcp_guard::middleware::Client;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use serde_json::json;
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt, service_fn};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    // As the sidecar does: a histogram with bounds is cheaper than one without.
    let builder =
        PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &[0.01, 0.1, 1.0]);
    builder.unwrap().install_recorder().unwrap();
    divan::main();
}

/// The service alone: what has to be taken off the others.
#[divan::bench]
fn no_guard(bencher: Bencher<'_, '_>) {
    measure(bencher, service_fn(answer));
}

#[divan::bench]
fn all_concerns(bencher: Bencher<'_, '_>) {
    let config = json!({"rate_limits": [
        {"name": "per-client", "key": ["client"], "rate": "1000000/s"},
        {"name": "per-tool", "key": ["client", "tool"], "match": {"method": "tools/call"}, "rate": "1000000/s"},
    ]});
    let config: GuardConfig = serde_json::from_value(config).unwrap();
    let service = GuardLayer::new(config).layer(service_fn(answer));
    prove_validation(&service);
    measure(bencher, service);
}

/// The first call has the tools listed, and one that breaks the schema is refused.
fn prove_validation<S, B>(service: &S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = call(&runtime, service, request(r#"{"text":7}"#));
    assert!(refused.windows(14).any(|part| part == br#""isError":true"#), "{refused:?}");
}

/// One `tools/call` and its answer, read to the end.
fn measure<S, B>(bencher: Bencher<'_, '_>, service: S)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let request = || request(r#"{"text":"The quick brown fox jumps over the lazy dog","times":1}"#);
    assert_eq!(call(&runtime, &service, request()), ANSWER);
    bencher.with_inputs(request).bench_local_values(|request| call(&runtime, &service, request));
}

fn call<S, B>(runtime: &Runtime, service: &S, request: Request<Full<Bytes>>) -> Bytes
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    runtime.block_on(async {
        let response = service.clone().oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    })
}

fn request(arguments: &str) -> Request<Full<Bytes>> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
    );
    Request::post("/mcp")
        .header(HOST, "localhost")
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25")
        .header("mcp-session-id", "0f4c8a2e-5d1b-4f7e-9a63-1c2b7d9e4a10")
        .extension(Client(IpAddr::V4(Ipv4Addr::LOCALHOST)))
        .body(Full::from(body))
        .unwrap()
}

const LIST: &[u8] = br#"{"jsonrpc":"2.0","id":"mcp-guard-list-1","result":{"tools":[{"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"string"},"times":{"type":"integer"}},"required":["text"]}}]}}"#;
const ANSWER: &[u8] = br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"The quick brown fox jumps over the lazy dog"}],"isError":false}}"#;

async fn answer(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await?.to_bytes();
    let is_list = body.windows(10).any(|part| part == b"tools/list");
    let mut response = Response::new(Full::from(if is_list { LIST } else { ANSWER }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
