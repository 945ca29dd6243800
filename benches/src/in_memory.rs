//! The whole guard around a service in memory: what a call costs beside its HTTP.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use mcp_guard::GuardLayer;
use mcp_guard::config::GuardConfig;
use mcp_guard::middleware::{Client, McpRequest, Upstream, UpstreamError};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use serde_json::json;
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::Fault;

/// A service with the runtime that it runs on, on this thread.
#[derive(Debug)]
pub struct InMemory<S> {
    runtime: Runtime,
    service: S,
}

/// A service of requests that have their body with them.
pub trait InMemoryService:
    Service<Request<Full<Bytes>>, Response = Response<Self::Body>, Error = Infallible> + Clone
{
    /// Of its answers.
    type Body: Body<Data = Bytes, Error: std::fmt::Debug>;
}

impl<S, B> InMemoryService for S
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    type Body = B;
}

/// The node alone: what has to be taken off the others.
///
/// # Errors
///
/// If there can be no runtime.
pub fn unguarded() -> Result<InMemory<impl InMemoryService>, Fault> {
    InMemory::new(service_fn(node))
}

/// The same behind all concerns, as a Rust server has it: any http service in a [`GuardLayer`].
///
/// # Errors
///
/// If it does not work as it should.
pub fn layered() -> Result<InMemory<impl InMemoryService>, Fault> {
    guarded_by(|layer| layer.layer(service_fn(node)))
}

/// The same as the sidecar has it: an upstream that takes messages as they are.
///
/// # Errors
///
/// If it does not work as it should.
pub fn guarded() -> Result<InMemory<impl InMemoryService>, Fault> {
    guarded_by(|layer| layer.layer(Direct))
}

/// The same with a provider of spans, which records this share of the traces that begin here, and hands them to nobody.
///
/// # Errors
///
/// If it does not work as it should.
pub fn with_spans(share: f64) -> Result<InMemory<impl InMemoryService>, Fault> {
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)));
    opentelemetry::global::set_tracer_provider(SdkTracerProvider::builder().with_sampler(sampler).build());
    guarded()
}

/// Two rate limits, and a recorder of metrics.
fn guarded_by<S: InMemoryService>(guard: impl FnOnce(GuardLayer) -> S) -> Result<InMemory<S>, Fault> {
    // A histogram with bounds is cheaper than one without. Whoever comes second finds the recorder there.
    let recorder =
        PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &[0.01, 0.1, 1.0])?;
    let _ = recorder.install_recorder();
    let rules = json!([
        {"name": "per-client", "key": ["client"], "rate": "1000000/s"},
        {"name": "per-tool", "key": ["client", "tool"], "match": {"method": "tools/call"}, "rate": "1000000/s"},
    ]);
    // Under valgrind all takes its time.
    let config = json!({"rate_limits": rules, "validation": {"compile_time": "10s"}});
    let config: GuardConfig = serde_json::from_value(config)?;
    let guarded = InMemory::new(guard(GuardLayer::new(config)))?;
    // The first call has the tools listed, and one that breaks the schema is refused.
    let refused = guarded.call(request(r#"{"text":7}"#));
    if !refused.windows(14).any(|part| part == br#""isError":true"#) {
        return Err(format!("not validated: {refused:?}").into());
    }
    Ok(guarded)
}

impl<S: InMemoryService> InMemory<S> {
    fn new(service: S) -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let this = Self { runtime, service };
        let answer = this.call(small_call());
        if answer == ANSWER { Ok(this) } else { Err(format!("not the answer: {answer:?}").into()) }
    }

    /// The answer to `request`, read to its end; empty if it broke off.
    pub fn call(&self, request: Request<Full<Bytes>>) -> Bytes {
        self.runtime.block_on(async {
            let Ok(response) = self.service.clone().oneshot(request).await;
            response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default()
        })
    }
}

/// One `tools/call` that passes.
pub fn small_call() -> Request<Full<Bytes>> {
    request(r#"{"text":"The quick brown fox jumps over the lazy dog","times":1}"#)
}

/// The same from a caller whose trace goes on here.
pub fn traced_call() -> Request<Full<Bytes>> {
    let mut request = small_call();
    let headers = request.headers_mut();
    headers.insert("traceparent", HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    headers.insert("tracestate", HeaderValue::from_static("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"));
    request
}

fn request(arguments: &str) -> Request<Full<Bytes>> {
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{arguments}}}}}"#
    );
    let mut request = Request::new(Full::from(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = http::Uri::from_static("/mcp");
    request.extensions_mut().insert(Client(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("localhost"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert("mcp-protocol-version", HeaderValue::from_static("2025-11-25"));
    headers.insert("mcp-session-id", HeaderValue::from_static("0f4c8a2e-5d1b-4f7e-9a63-1c2b7d9e4a10"));
    request
}

const LIST: &[u8] = br#"{"jsonrpc":"2.0","id":"mcp-guard-list-1","result":{"tools":[{"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"string"},"times":{"type":"integer"}},"required":["text"]}}]}}"#;
const ANSWER: &[u8] = br#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"The quick brown fox jumps over the lazy dog"}],"isError":false}}"#;

/// Answers messages without the detour over HTTP.
struct Direct;

impl Upstream for Direct {
    type Body = Full<Bytes>;

    async fn send(&self, request: McpRequest) -> Result<Response<Full<Bytes>>, UpstreamError> {
        Ok(answer(&request.body))
    }
}

async fn node(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(answer(&request.into_body().collect().await?.to_bytes()))
}

fn answer(body: &[u8]) -> Response<Full<Bytes>> {
    let is_list = body.get(LIST_ID).is_some_and(|part| part == b"mcp-guard");
    let mut response = Response::new(Full::from(if is_list { LIST } else { ANSWER }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Where the id of the guard's own requests begins.
const LIST_ID: std::ops::Range<usize> = 23..32;
