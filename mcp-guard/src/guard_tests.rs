//! What only all concerns together show, around a node of the test's own.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::{Service, ServiceExt, service_fn};

use super::*;
use crate::call::Method;
use crate::limits::JSON_DEPTH_MAX;
use crate::middleware::clock;

type Upstream = Response<Full<Bytes>>;

fn config(value: Value) -> GuardConfig {
    serde_json::from_value(value).unwrap()
}

/// What the node is asked.
fn asked(request: &Request<Full<Bytes>>) -> Arc<Call> {
    Arc::clone(request.extensions().get::<Arc<Call>>().unwrap())
}

fn result(call: &Call, result: &Value) -> Result<Upstream, Infallible> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, call.id.as_deref().unwrap_or("null"));
    Ok(Response::builder().header("content-type", "application/json").body(Full::from(body)).unwrap())
}

fn post(headers: &[(&str, &str)], body: &Value) -> Request<Full<Bytes>> {
    let mut request = Request::post("/mcp").header("host", "localhost").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_string())).unwrap()
}

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

async fn send<S, B>(service: &S, request: Request<Full<Bytes>>) -> (u16, Value)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let response = service.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn a_key_of_ones_own_tells_callers_apart() {
    let rule = json!({"name": "per-key", "key": ["subject"], "rate": "1/m"});
    let layer = GuardLayer::new(config(json!({"rate_limits": [rule]})))
        .key_with(|head, _| Some(head.headers.get("x-api-key")?.to_str().ok()?.into()));
    let guarded = layer.layer(service_fn(async |request| result(&asked(&request), &json!({}))));
    for (key, expected) in [("ada", 200), ("bob", 200), ("ada", 429)] {
        assert_eq!(send(&guarded, post(&[("x-api-key", key)], &ping())).await.0, expected, "{key}");
    }
}

/// A node that answers with a head of its own, and then with nothing.
fn stuck(
    layer: &GuardLayer,
    content_type: &'static str,
) -> impl Service<
    Request<Full<Bytes>>,
    Response = Response<impl Body<Data = Bytes, Error: std::fmt::Debug>>,
    Error = Infallible,
> + Clone {
    layer.layer(service_fn(move |_: Request<Full<Bytes>>| async move {
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        Ok::<_, Infallible>(Response::builder().header("content-type", content_type).body(body).unwrap())
    }))
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_whatever_is_no_stream_must_have_ended_in_time() {
    let layer = GuardLayer::new(GuardConfig::default()).call_timeout(Duration::from_secs(30));
    let guarded = stuck(&layer, "text/plain");
    let without_body = |method| {
        let request = Request::builder().method(method).uri("/mcp").header("host", "localhost");
        request.header("accept", "text/event-stream").body(Full::default()).unwrap()
    };
    let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let response = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    for request in [post(&[], &notification), post(&[], &response), without_body("DELETE"), without_body("GET")] {
        let start = clock::now();
        assert_eq!(send(&guarded, request).await.0, 504);
        assert_eq!(clock::now() - start, Duration::from_secs(30));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_a_client_opened_stays_open() {
    let layer = GuardLayer::new(GuardConfig::default()).call_timeout(Duration::from_secs(30));
    let request = Request::get("/mcp").header("host", "localhost").body(Full::default()).unwrap();
    let response = stuck(&layer, "text/event-stream").oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = std::pin::pin!(response.into_body());
    assert!(timeout(Duration::from_secs(3600), body.frame()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_a_stream_ends_when_all_its_time_is_over() {
    let layer = GuardLayer::new(GuardConfig::default())
        .call_timeout(Duration::from_secs(30))
        .total_timeout(Duration::from_secs(300));
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "prompts/list", "params": {}});
    let start = clock::now();
    let response = stuck(&layer, "text/event-stream").oneshot(post(&[], &call)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(clock::now() - start, Duration::from_secs(300));
    assert!(body.windows(17).any(|part| part == b"deadline_exceeded"), "{body:?}");
    let listens = Request::get("/mcp").header("host", "localhost").body(Full::default()).unwrap();
    let response = stuck(&layer, "text/event-stream").oneshot(listens).await.unwrap();
    let mut body = std::pin::pin!(response.into_body());
    assert!(timeout(Duration::from_secs(3600), body.frame()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_place_does_not_eat_the_time_of_a_call() {
    let layer = GuardLayer::new(config(json!({
        "queue": {"concurrency": 1, "adaptive": false, "max_wait": "10s", "target_delay": "10s"},
        "tools": [{"name": "slow", "timeout": "3s"}],
        "validation": {"arguments": "off", "results": "off"},
    })));
    let guarded = layer.layer(service_fn(async |request| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        result(&asked(&request), &json!({"content": []}))
    }));
    let slow = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "slow", "arguments": {}}});
    let start = clock::now();
    let answers = futures_util::future::join_all((0..3).map(|_| send(&guarded, post(&[], &slow)))).await;
    // The last one waited for 4 s and ran for 2 s, within 3 s.
    assert!(answers.iter().all(|(status, body)| *status == 200 && body["result"].is_object()), "{answers:?}");
    assert_eq!(clock::now() - start, Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn tools_that_were_forgotten_are_listed_again_before_the_next_call() {
    let lists = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lists);
    let layer = GuardLayer::new(GuardConfig::default());
    let guarded = layer.layer(service_fn(move |request: Request<Full<Bytes>>| {
        let counted = Arc::clone(&counted);
        async move {
            let call = asked(&request);
            if call.method.is(Method::TOOLS_LIST) {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            result(&call, &json!({"content": [], "tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}))
        }
    }));
    let echo = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {}}});
    let listed = async || {
        assert_eq!(send(&guarded, post(&[], &echo)).await.0, 200);
        lists.load(Ordering::SeqCst)
    };
    assert_eq!((listed().await, listed().await), (1, 1));
    layer.forget_tools();
    assert_eq!(listed().await, 2);
}

/// serde_json gives up at 128 levels with an error of its own.
#[tokio::test(start_paused = true)]
async fn what_is_as_deep_as_can_be_configured_is_read_and_one_level_more_is_refused_as_too_deep() {
    let layer = GuardLayer::new(config(json!({"limits": {"json_depth": JSON_DEPTH_MAX}})));
    let guarded = layer.layer(service_fn(async |request| result(&asked(&request), &json!({"content": []}))));
    for (depth, expected) in [(JSON_DEPTH_MAX, 200), (JSON_DEPTH_MAX + 1, 400)] {
        // The message, its params and its arguments are three levels.
        let deep = (0..depth - 3).fold(json!(1), |inside, _| json!([inside]));
        let params = json!({"name": "echo", "arguments": {"a": deep}});
        let (status, body) =
            send(&guarded, post(&[], &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})))
                .await;
        assert_eq!(status, expected, "{body}");
        assert_eq!(
            body["error"]["message"].as_str().is_some_and(|text| text.contains("deep")),
            expected == 400,
            "{body}"
        );
        assert_eq!(body["result"].is_object(), expected == 200, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_succeeds_another_keeps_what_was_spent_under_a_rule_that_is_the_same() {
    let rule = |name: &str, burst: u32| json!({"name": name, "key": [], "rate": "1/h", "burst": burst});
    let node = || service_fn(async |request| result(&asked(&request), &json!({})));
    let before = GuardLayer::new(config(json!({"rate_limits": [rule("same", 2), rule("other", 2)]})));
    assert_eq!(send(&before.layer(node()), post(&[], &ping())).await.0, 200);
    // One is left of the rule that is the same; the other begins anew.
    let after = before.succeeded(config(json!({"rate_limits": [rule("other", 3), rule("same", 2)]})));
    for expected in [200, 429] {
        assert_eq!(send(&after.layer(node()), post(&[], &ping())).await.0, expected);
    }
    let again = after.succeeded(config(json!({"rate_limits": [rule("other", 3)]})));
    for expected in [200, 200, 429] {
        assert_eq!(send(&again.layer(node()), post(&[], &ping())).await.0, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_guard_that_succeeds_another_knows_the_tools_and_asks_anew_only_if_they_are_checked_otherwise() {
    static LISTS: AtomicUsize = AtomicUsize::new(0);
    let node = || {
        service_fn(async |request| {
            let call = asked(&request);
            if call.method.is(Method::TOOLS_LIST) {
                LISTS.fetch_add(1, Ordering::Relaxed);
            }
            result(&call, &json!({"tools": [{"name": "add", "inputSchema": {"type": "object"}}]}))
        })
    };
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "add", "arguments": {}}});
    let mut layer = GuardLayer::new(config(json!({})));
    let same = json!({"queue": {"concurrency": 7}});
    for (next, lists) in [(json!({}), 1), (same, 1), (json!({"validation": {"results": "off"}}), 2)] {
        layer = layer.succeeded(config(next));
        assert_eq!(send(&layer.layer(node()), post(&[], &body)).await.0, 200);
        assert_eq!(LISTS.load(Ordering::Relaxed), lists);
    }
}
