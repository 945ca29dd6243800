//! The layer around a handler of the test's own, time paused.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};

use super::*;
use crate::call::{Call, Kind, Method};
use crate::middleware::{Answer, Client, Handler, McpRequest, McpService, Settings};
use crate::outcome::Outcome;
use crate::revision::Revision;

#[test]
fn the_seeds_of_the_fuzz_target_are_limited_well() {
    crate::fuzz_seeds::for_each("rate_limit", fuzz_check::check);
}

/// Answers every call at once, with the subject it was called by.
struct Next;

impl Handler for Next {
    type Body = Full<Bytes>;

    async fn handle(&self, request: McpRequest) -> Answer<Full<Bytes>> {
        let subject = request.call.subject.as_deref().unwrap_or_default();
        let (head, ()) = Response::builder().header("x-subject", subject).body(()).unwrap().into_parts();
        Answer::whole(head, Bytes::from_static(b"{}"), Outcome::Ok)
    }
}

fn limits(value: Value) -> RateLimits {
    serde_json::from_value(value).unwrap()
}

fn per_client(rate: &str) -> RateLimits {
    limits(json!([{"name": "per-client", "key": ["client"], "rate": rate}]))
}

fn head(headers: &[(&str, &str)]) -> Parts {
    let request = headers.iter().fold(Request::post("/mcp"), |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

fn call(kind: Kind, tool: &str) -> Call {
    let mut call = Call::new(kind, Method::new(Method::TOOLS_CALL), Revision::V2025_11_25);
    call.id = (kind == Kind::Request).then(|| "7".into());
    call.target = Some(tool.into());
    call.client = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    call
}

async fn send(guarded: &RateLimit<Next>, headers: &[(&str, &str)], call: Call) -> (u16, HeaderMap, Value) {
    let request = McpRequest::new(Arc::new(head(headers)), Bytes::new(), Arc::new(call));
    let response = guarded.handle(request).await.into_response();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status.as_u16(), head.headers, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn status(guarded: &RateLimit<Next>, kind: Kind, tool: &str) -> u16 {
    send(guarded, &[], call(kind, tool)).await.0
}

#[tokio::test(start_paused = true)]
async fn a_call_too_many_is_refused_with_the_exact_wait_and_the_rule() {
    let guarded = RateLimitLayer::new(&per_client("40/m")).wrap(Next);
    for _ in 0..40 {
        assert_eq!(status(&guarded, Kind::Request, "echo").await, 200);
    }
    let (status, headers, body) = send(&guarded, &[], call(Kind::Request, "echo")).await;
    assert_eq!((status, &headers["retry-after"]), (429, &"2".parse().unwrap()));
    assert_eq!((&body["id"], &body["error"]["code"]), (&json!(7), &json!(1056)));
    let expected = json!({"guard": "rate_limited", "rule": "per-client", "retryAfterMs": 1500});
    assert_eq!(body["error"]["data"], expected);
    assert_eq!(body["error"]["message"], "rate limit reached: rule `per-client` allows 40/m with at most 40 at once");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_as_told_is_served() {
    let guarded = RateLimitLayer::new(&per_client("1/s")).wrap(Next);
    assert_eq!(status(&guarded, Kind::Request, "echo").await, 200);
    tokio::time::advance(Duration::from_millis(999)).await;
    assert_eq!(status(&guarded, Kind::Request, "echo").await, 429);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(status(&guarded, Kind::Request, "echo").await, 200);
}

#[tokio::test(start_paused = true)]
async fn answers_and_refusals_say_what_is_left_under_the_tightest_rule() {
    let rules = json!([
        {"name": "wide", "key": [], "rate": "1/h", "burst": 50},
        {"name": "narrow", "key": ["tool"], "rate": "6/m", "burst": 2},
    ]);
    let guarded = RateLimitLayer::new(&limits(rules)).wrap(Next);
    for (expected_status, expected) in
        [(200, "\"narrow\";r=1;t=10"), (200, "\"narrow\";r=0;t=7"), (429, "\"narrow\";r=0;t=4")]
    {
        let (status, headers, _) = send(&guarded, &[], call(Kind::Request, "echo")).await;
        assert_eq!((status, headers["ratelimit"].to_str().unwrap()), (expected_status, expected));
        assert_eq!(headers["ratelimit-policy"], "\"narrow\";q=2;w=20");
        tokio::time::advance(Duration::from_secs(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_window_is_that_of_the_rate_as_it_was_written() {
    for (rate, burst, expected) in [("3/s", 3, "q=3;w=1"), ("100/s", 500, "q=500;w=5"), ("7/m", 7, "q=7;w=60")] {
        let rules = limits(json!([{"name": "a", "key": [], "rate": rate, "burst": burst}]));
        let (_, headers, _) = send(&RateLimitLayer::new(&rules).wrap(Next), &[], call(Kind::Request, "echo")).await;
        assert_eq!(headers["ratelimit-policy"], format!("\"a\";{expected}"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_headers_can_be_left_out() {
    let guarded = RateLimitLayer::new(&per_client("1/s")).without_headers().wrap(Next);
    for _ in 0..2 {
        let (_, headers, _) = send(&guarded, &[], call(Kind::Request, "echo")).await;
        assert!(!headers.contains_key("ratelimit") && !headers.contains_key("ratelimit-policy"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_to_which_no_rule_applies_gets_no_headers() {
    let rules = json!([{"name": "a", "key": [], "match": {"tool": "other"}, "rate": "1/s"}]);
    let guarded = RateLimitLayer::new(&limits(rules)).wrap(Next);
    assert!(!send(&guarded, &[], call(Kind::Request, "echo")).await.1.contains_key("ratelimit"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_notification_gets_the_status_and_no_body() {
    let guarded = RateLimitLayer::new(&per_client("1/s")).wrap(Next);
    assert_eq!(status(&guarded, Kind::Notification, "echo").await, 200);
    let (status, headers, body) = send(&guarded, &[], call(Kind::Notification, "echo")).await;
    assert_eq!((status, &headers["retry-after"], body), (429, &"1".parse().unwrap(), Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_tool_costs_what_the_first_policy_that_means_it_says() {
    let tools: Vec<_> =
        serde_json::from_value(json!([{"name": "report_*", "cost": 3}, {"name": "*", "cost": 2}])).unwrap();
    let guarded = RateLimitLayer::new(&per_client("6/m")).with_costs(&tools).wrap(Next);
    let (_, headers, _) = send(&guarded, &[], call(Kind::Request, "report_day")).await;
    assert_eq!(headers["ratelimit"], "\"per-client\";r=3;t=10");
    let (_, headers, _) = send(&guarded, &[], call(Kind::Request, "echo")).await;
    assert_eq!(headers["ratelimit"], "\"per-client\";r=1;t=10");
    assert_eq!(status(&guarded, Kind::Request, "echo").await, 429);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_ones_own_tells_callers_apart_and_is_seen_further_in() {
    let rules = json!([{"name": "per-key", "key": ["subject"], "rate": "1/s"}]);
    let layer = RateLimitLayer::new(&limits(rules))
        .key_with(|head, _| Some(head.headers.get("x-api-key")?.to_str().ok()?.into()));
    let guarded = layer.wrap(Next);
    for (key, expected) in [("ada", 200), ("bob", 200), ("ada", 429)] {
        let (status, headers, _) = send(&guarded, &[("x-api-key", key)], call(Kind::Request, "echo")).await;
        assert_eq!(status, expected);
        assert!(status == 429 || headers["x-subject"] == key);
    }
}

#[tokio::test(start_paused = true)]
async fn everything_that_one_layer_wraps_shares_its_allowances() {
    let layer = RateLimitLayer::new(&per_client("1/s"));
    assert_eq!(status(&layer.wrap(Next), Kind::Request, "echo").await, 200);
    assert_eq!(status(&layer.clone().wrap(Next), Kind::Request, "echo").await, 429);
}

fn post(body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::post("/mcp").header("host", "localhost").header("content-type", "application/json");
    request.extension(Client(IpAddr::V4(Ipv4Addr::LOCALHOST))).body(Full::from(body)).unwrap()
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

#[tokio::test(start_paused = true)]
async fn with_a_doorkeeper_a_client_is_counted_once_and_refused_before_its_body_is_read() {
    let layer = RateLimitLayer::new(&per_client("2/m"));
    let settings = Settings { doorkeeper: Some(layer.doorkeeper()), ..Settings::default() };
    let service = McpService::with_settings(layer.after_doorkeeper().wrap(Next), settings);
    for expected in ["\"per-client\";r=1;t=30", "\"per-client\";r=0;t=30"] {
        let response = service.clone().oneshot(post(PING)).await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["ratelimit"]), (200, &expected.parse().unwrap()));
    }
    // Not JSON: read, it would be a parse error.
    let response = service.oneshot(post("{")).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"30".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn each_member_of_a_batch_counts() {
    let node = tower::service_fn(|_: Request<Full<Bytes>>| async {
        let answer = Full::<Bytes>::from(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        Ok::<_, Infallible>(Response::builder().header("content-type", "application/json").body(answer).unwrap())
    });
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":1,"method":"ping"},
                    {"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
    let response = RateLimitLayer::new(&per_client("2/s")).layer(node).oneshot(post(batch)).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let answers: Vec<Value> = serde_json::from_slice(&body).unwrap();
    let refused = answers.iter().filter(|answer| answer["error"]["data"]["guard"] == "rate_limited");
    assert_eq!((answers.len(), refused.count()), (3, 1));
}
