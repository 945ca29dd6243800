//! The two handlers around a fake node, with spans kept in memory.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, TracerProvider};
use opentelemetry::{Context, ContextGuard};
use opentelemetry_sdk::trace::{InMemorySpanExporter, Sampler, SdkTracerProvider, SpanData};
use tower::{Layer, ServiceExt};

use super::X_REQUEST_ID;
use crate::call::{Call, Kind, Method};
use crate::message::{self, Body, Reading};
use crate::middleware::{Answer, Handler, McpRequest};
use crate::outcome::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::revision::Revision;
use crate::trace::{TraceLayer, TraceParent, TracePolicy};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OTHER: &str = "00-11111111111111111111111111111111-2222222222222222-01";

/// Answers with an outcome of the test's, and remembers what it was sent.
#[derive(Clone)]
struct FakeNode {
    seen: Arc<Mutex<Vec<McpRequest>>>,
    outcome: Result<Outcome, Reason>,
}

impl Handler for FakeNode {
    type Body = Full<Bytes>;

    async fn handle(&self, request: McpRequest) -> Answer<Self::Body> {
        let call = Arc::clone(&request.call);
        self.seen.lock().unwrap().push(request);
        match self.outcome {
            Ok(outcome) => Answer::whole(Response::new(()).into_parts().0, Bytes::from_static(b"{}"), outcome),
            Err(reason) => Answer::refuse(&Refusal::new(reason, "no"), &call),
        }
    }
}

struct Bench {
    layer: TraceLayer,
    node: FakeNode,
    provider: SdkTracerProvider,
    spans: InMemorySpanExporter,
}

impl Bench {
    fn new(policy: TracePolicy, sampler: Sampler) -> Self {
        let spans = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).with_sampler(sampler).build();
        let tracer = BoxedTracer::new(Box::new(provider.tracer("test")));
        let node = FakeNode { seen: Arc::default(), outcome: Ok(Outcome::Ok) };
        Self { layer: TraceLayer::with_tracer(policy, tracer), node, provider, spans }
    }

    fn traced() -> Self {
        Self::new(TracePolicy::default(), Sampler::AlwaysOn)
    }

    fn answering(mut self, outcome: Result<Outcome, Reason>) -> Self {
        self.node.outcome = outcome;
        self
    }

    /// Sends `request` through both handlers; gives back what the node saw and what the caller gets.
    async fn send(&self, request: McpRequest) -> (McpRequest, HeaderMap) {
        let handler = self.layer.wrap(self.layer.wrap_upstream(self.node.clone()));
        let answer = handler.handle(request).await;
        (self.node.seen.lock().unwrap().pop().unwrap(), answer.head().headers.clone())
    }

    /// The finished CLIENT and SERVER span.
    fn spans(&self) -> (SpanData, SpanData) {
        let spans = self.spans.get_finished_spans().unwrap();
        let [client, server] = <[SpanData; 2]>::try_from(spans).unwrap();
        assert_eq!((&client.span_kind, &server.span_kind), (&SpanKind::Client, &SpanKind::Server));
        (client, server)
    }
}

/// A `tools/call` of `revision` with this `_meta`, and these headers.
fn request(revision: Revision, meta: &str, headers: &[(&str, &str)]) -> McpRequest {
    let body = format!(
        r#"{{"jsonrpc":"2.0", "id":7,"method":"tools/call","params":{{"_meta":{meta},"name":"weather","arguments":{{"city":"secret"}}}}}}"#
    );
    let reading = Reading { revision: Some(revision), depth_max: 64, batch_max: 1 };
    let Ok(Body::Single(call, _)) = message::read(body.as_bytes(), reading) else { panic!("a valid message") };
    let mut builder = Request::post("/mcp");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    McpRequest::new(Arc::new(builder.body(()).unwrap().into_parts().0), Bytes::from(body), Arc::new(call))
}

fn legacy(headers: &[(&str, &str)]) -> McpRequest {
    request(Revision::V2025_11_25, r#"{"a":1}"#, headers)
}

fn header<'a>(request: &'a McpRequest, name: &str) -> Option<&'a str> {
    request.head.headers.get(name).map(|value| value.to_str().unwrap())
}

fn traceparent(span: &SpanData) -> String {
    let context = &span.span_context;
    format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|found| found.value.to_string())
}

#[tokio::test]
async fn the_headers_context_is_the_parent_and_the_client_span_is_sent_on() {
    let bench = Bench::traced();
    let (seen, _) = bench.send(legacy(&[("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "b=2")])).await;
    let (client, server) = bench.spans();
    assert_eq!(server.span_context.trace_id().to_string(), TRACE);
    assert_eq!(server.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(client.parent_span_id, server.span_context.span_id());
    assert_eq!(header(&seen, "traceparent"), Some(traceparent(&client).as_str()));
    assert_eq!((header(&seen, "tracestate"), header(&seen, "baggage")), (Some("a=1"), Some("b=2")));
}

#[tokio::test]
async fn meta_is_the_parent_and_the_http_context_is_linked() {
    let bench = Bench::traced();
    let meta = format!(r#"{{"traceparent":"{PARENT}","baggage":"m=1"}}"#);
    let (seen, _) =
        bench.send(request(Revision::V2025_11_25, &meta, &[("traceparent", OTHER), ("baggage", "h=1")])).await;
    let (client, server) = bench.spans();
    assert_eq!(server.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(server.links.links[0].span_context.span_id().to_string(), "2222222222222222");
    assert_eq!(header(&seen, "traceparent"), Some(traceparent(&client).as_str()));
    assert_eq!(header(&seen, "baggage"), Some("m=1"));
}

#[tokio::test]
async fn the_same_context_in_both_places_is_no_link() {
    let bench = Bench::traced();
    let meta = format!(r#"{{"traceparent":"{PARENT}"}}"#);
    bench.send(request(Revision::V2026_07_28, &meta, &[("traceparent", PARENT)])).await;
    assert!(bench.spans().1.links.links.is_empty());
}

#[tokio::test]
async fn a_host_that_traces_http_itself_is_the_parent() {
    let bench = Bench::traced();
    let host = TraceParent::parse(OTHER).unwrap();
    let (trace_id, span_id) = (host.trace_id().into(), host.parent_id().into());
    let host = SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::NONE);
    let _guard: ContextGuard = Context::new().with_remote_span_context(host).attach();
    bench.send(legacy(&[("traceparent", PARENT)])).await;
    assert_eq!(bench.spans().1.parent_span_id.to_string(), "2222222222222222");
}

#[tokio::test]
async fn a_parent_in_meta_is_replaced_and_every_other_byte_stays() {
    let bench = Bench::traced();
    let meta = format!(r#"{{"a" : 1, "traceparent": "{PARENT}" }}"#);
    let request = request(Revision::V2025_06_18, &meta, &[]);
    let before = String::from_utf8(request.body.to_vec()).unwrap();
    let (seen, _) = bench.send(request).await;
    let (client, _) = bench.spans();
    assert_eq!(seen.body, before.replace(PARENT, &traceparent(&client)));
}

#[tokio::test]
async fn a_stateless_call_gets_its_context_in_meta_and_its_ranges_follow() {
    let bench = Bench::traced();
    let (seen, _) = bench.send(request(Revision::V2026_07_28, r#"{"a":1}"#, &[])).await;
    let (client, _) = bench.spans();
    let written = format!(r#""_meta":{{"a":1,"traceparent":"{}"}}"#, traceparent(&client));
    assert!(std::str::from_utf8(&seen.body).unwrap().contains(&written));
    assert_eq!(&seen.body[seen.call.arguments.clone().unwrap()], br#"{"city":"secret"}"#);
    assert!(seen.body[seen.call.params.clone().unwrap()].ends_with(br#"{"city":"secret"}}"#));
}

#[tokio::test]
async fn a_legacy_body_without_context_is_not_touched() {
    let bench = Bench::traced();
    let request = legacy(&[("traceparent", PARENT)]);
    let body = request.body.clone();
    assert_eq!(bench.send(request).await.0.body, body);
}

#[tokio::test]
async fn a_malformed_context_starts_a_new_trace_and_the_call_goes_on() {
    let bench = Bench::traced();
    let headers = [("traceparent", "00-xyz"), ("tracestate", "a=1"), ("baggage", "b=1,c d=2")];
    let (seen, _) = bench.send(request(Revision::V2025_11_25, r#"{"traceparent":17}"#, &headers)).await;
    let (client, server) = bench.spans();
    assert_eq!(server.parent_span_id.to_string(), "0000000000000000");
    assert_eq!(header(&seen, "traceparent"), Some(traceparent(&client).as_str()));
    assert_eq!((header(&seen, "tracestate"), header(&seen, "baggage")), (None, Some("b=1")));
}

#[tokio::test]
async fn an_unsampled_trace_is_passed_on_as_unsampled() {
    let bench = Bench::new(TracePolicy::default(), Sampler::ParentBased(Box::new(Sampler::AlwaysOn)));
    let unsampled = PARENT.replace("-01", "-00");
    let (seen, _) = bench.send(legacy(&[("traceparent", &unsampled)])).await;
    let sent = header(&seen, "traceparent").unwrap();
    assert!(sent.starts_with(&format!("00-{TRACE}-")) && sent.ends_with("-00") && sent != unsampled);
    assert!(bench.spans.get_finished_spans().unwrap().is_empty());
}

#[tokio::test]
async fn without_a_provider_a_context_passes_unchanged_and_a_malformed_one_is_taken_out() {
    let tracer = BoxedTracer::new(Box::new(opentelemetry::trace::noop::NoopTracer::new()));
    let mut bench = Bench::traced();
    bench.layer = TraceLayer::with_tracer(TracePolicy::default(), tracer);
    let future = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
    for _first_and_later in 0..2 {
        let (seen, _) = bench.send(legacy(&[("traceparent", future), ("tracestate", " a=1 ,b=2")])).await;
        assert_eq!((header(&seen, "traceparent"), header(&seen, "tracestate")), (Some(future), Some(" a=1 ,b=2")));
    }
    let (seen, _) = bench.send(legacy(&[("traceparent", "00-xyz"), ("tracestate", "a=1")])).await;
    assert_eq!((header(&seen, "traceparent"), header(&seen, "tracestate")), (None, None));
}

#[tokio::test]
async fn a_policy_without_spans_makes_none() {
    let bench = Bench::new(TracePolicy::default().without_spans(), Sampler::AlwaysOn);
    let (seen, _) = bench.send(legacy(&[("traceparent", PARENT)])).await;
    assert_eq!(header(&seen, "traceparent"), Some(PARENT));
    assert!(bench.spans.get_finished_spans().unwrap().is_empty());
}

#[tokio::test]
async fn baggage_that_is_not_to_be_propagated_is_taken_out_of_meta_and_headers_traced_or_not() {
    let meta = r#"{"baggage" : "b=2", "a":1, "tracestate":"s=1","bagg\u0061ge":7}"#;
    for revision in [Revision::V2025_03_26, Revision::V2026_07_28] {
        for spans in [true, false] {
            let policy = format!(r#"{{"propagate_baggage": false, "spans": {spans}}}"#);
            let policy: TracePolicy = serde_json::from_str(&policy).unwrap();
            let request = request(revision, meta, &[("baggage", "h=1")]);
            let (seen, _) = Bench::new(policy, Sampler::AlwaysOn).send(request).await;
            assert_eq!(header(&seen, "baggage"), None);
            let body = std::str::from_utf8(&seen.body).unwrap();
            assert!(!body.contains("b=2") && !body.contains("bagg"), "{body}");
            assert!(body.contains(r#""a":1"#), "{body}");
            assert_eq!(&seen.body[seen.call.arguments.clone().unwrap()], br#"{"city":"secret"}"#);
            assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["params"]["name"], "weather");
        }
    }
}

#[tokio::test]
async fn without_baggage_in_meta_no_byte_of_the_body_changes() {
    let policy: TracePolicy = serde_json::from_str(r#"{"propagate_baggage": false}"#).unwrap();
    let request = legacy(&[]);
    let body = request.body.clone();
    let (seen, _) = Bench::new(policy, Sampler::AlwaysOn).send(request).await;
    // The very same bytes, not a copy.
    assert_eq!(seen.body.as_ptr(), body.as_ptr());
}

#[tokio::test]
async fn a_span_says_what_was_called_but_not_with_what() {
    let bench = Bench::traced();
    bench.send(legacy(&[("x-request-id", "r1")])).await;
    let (client, server) = bench.spans();
    assert_eq!((&*server.name, &*client.name), ("tools/call weather", "tools/call weather"));
    for (key, value) in [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "weather"),
        ("gen_ai.operation.name", "execute_tool"),
        ("jsonrpc.request.id", "7"),
        ("network.protocol.version", "1.1"),
        ("mcp_guard.outcome", "ok"),
        ("mcp_guard.request_id", "r1"),
    ] {
        assert_eq!(attribute(&server, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!((&server.status, attribute(&server, "error.type")), (&Status::Unset, None));
    assert!(!format!("{client:?}{server:?}").contains("secret"));
}

#[tokio::test]
async fn a_tool_that_fails_fails_the_span() {
    let bench = Bench::traced().answering(Ok(Outcome::ToolError));
    bench.send(legacy(&[])).await;
    let (_, server) = bench.spans();
    assert_eq!((&server.status, attribute(&server, "error.type").as_deref()), (&Status::error(""), Some("tool_error")));
}

#[tokio::test]
async fn a_refusal_shows_its_reason_and_code() {
    let bench = Bench::traced().answering(Err(Reason::BreakerOpen));
    bench.send(legacy(&[])).await;
    let (_, server) = bench.spans();
    assert_eq!(attribute(&server, "mcp_guard.refusal").as_deref(), Some("breaker_open"));
    assert_eq!(attribute(&server, "rpc.response.status_code").as_deref(), Some("1086"));
}

/// A node that never answers, as seen by a caller that leaves.
struct Silent;

impl Handler for Silent {
    type Body = Full<Bytes>;

    async fn handle(&self, _: McpRequest) -> Answer<Self::Body> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_ends_both_spans_as_cancelled() {
    let bench = Bench::traced();
    let handler = bench.layer.wrap(bench.layer.wrap_upstream(Silent));
    tokio::time::timeout(std::time::Duration::from_secs(1), handler.handle(legacy(&[]))).await.unwrap_err();
    let (client, server) = bench.spans();
    for span in [client, server] {
        assert_eq!(
            (&span.status, attribute(&span, "mcp_guard.outcome").as_deref()),
            (&Status::Unset, Some("cancelled"))
        );
    }
}

#[tokio::test]
async fn each_try_has_a_client_span_of_its_own() {
    /// Tries everything twice.
    struct Twice<H>(H);
    impl<H: Handler> Handler for Twice<H> {
        type Body = H::Body;
        async fn handle(&self, request: McpRequest) -> Answer<H::Body> {
            self.0.handle(request.clone()).await;
            self.0.handle(request).await
        }
    }
    let bench = Bench::traced();
    let handler = bench.layer.wrap(Twice(bench.layer.wrap_upstream(bench.node.clone())));
    handler.handle(request(Revision::V2026_07_28, "{}", &[])).await;
    let spans = bench.spans.get_finished_spans().unwrap();
    let [first, second, server] = <[SpanData; 3]>::try_from(spans).unwrap();
    assert_ne!(first.span_context.span_id(), second.span_context.span_id());
    assert_eq!([first.parent_span_id, second.parent_span_id], [server.span_context.span_id(); 2]);
}

#[tokio::test]
async fn spans_end_when_the_stream_does() {
    let bench = Bench::traced();
    let server = tower::service_fn(async |_: Request<Full<Bytes>>| {
        let events = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32002,\"message\":\"no\"}}\n\n";
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok::<_, Infallible>(response.body(Full::<Bytes>::from(events)).unwrap())
    });
    let body = legacy(&[]).body;
    let post = Request::post("/mcp").header("host", "localhost").header("content-type", "application/json");
    let response = bench.layer.layer(server).oneshot(post.body(Full::new(body)).unwrap()).await.unwrap();
    assert_eq!(bench.spans.get_finished_spans().unwrap().len(), 0);
    response.into_body().collect().await.unwrap();
    let (client, server) = bench.spans();
    for span in [client, server] {
        assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("-32002"));
    }
}

#[tokio::test]
async fn a_provider_that_was_shut_down_stops_tracing_and_no_call() {
    let bench = Bench::traced();
    bench.send(legacy(&[])).await;
    bench.provider.shutdown().unwrap();
    let (seen, _) = bench.send(legacy(&[("traceparent", PARENT)])).await;
    assert_eq!(header(&seen, "traceparent"), Some(PARENT));
}

#[tokio::test]
async fn an_opened_stream_is_no_call() {
    let bench = Bench::traced();
    let mut request = legacy(&[]);
    request.call = Arc::new(Call::new(Kind::Listen, Method::NONE, Revision::V2025_11_25));
    bench.send(request).await;
    bench.provider.force_flush().unwrap();
    assert!(bench.spans.get_finished_spans().unwrap().is_empty());
}

#[path = "request_id_tests.rs"]
mod request_ids;
