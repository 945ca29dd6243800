//! The breaker as a handler and as a layer, in virtual time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use metrics::set_default_local_recorder;
use proptest::prelude::*;
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};

use super::spy::Spy;
use super::{Breaker, BreakerLayer, BreakerPolicy};
use crate::call::{Call, Kind, Method};
use crate::middleware::{Answer, Handler, McpRequest};
use crate::outcome::Outcome;
use crate::refusal::Reason;
use crate::revision::Revision;

/// A node that does as told: the next outcome of its list, or never an answer where there is none.
#[derive(Clone, Default)]
struct Scripted {
    outcomes: Arc<Mutex<VecDeque<Option<Outcome>>>>,
}

impl Scripted {
    fn then(&self, outcome: impl Into<Option<Outcome>>) {
        self.outcomes.lock().unwrap().push_back(outcome.into());
    }
}

impl Handler for Scripted {
    type Body = Full<Bytes>;

    async fn handle(&self, _: McpRequest) -> Answer<Full<Bytes>> {
        let next = self.outcomes.lock().unwrap().pop_front().expect("the node is told what to do");
        match next {
            Some(outcome) => Answer::whole(Response::new(()).into_parts().0, Bytes::new(), outcome),
            None => pending().await,
        }
    }
}

fn request(method: &str, target: Option<&str>) -> McpRequest {
    let mut call = Call::new(Kind::Request, Method::new(method), Revision::V2025_11_25);
    call.target = target.map(Into::into);
    call.id = Some("1".into());
    McpRequest::new(Arc::new(Request::new(()).into_parts().0), Bytes::new(), Arc::new(call))
}

fn ping() -> McpRequest {
    request(Method::PING, None)
}

async fn send(breaker: &Breaker<Scripted>, node: &Scripted, outcome: Outcome) -> Option<Reason> {
    node.then(outcome);
    let answer = breaker.handle(ping()).await;
    if answer.is_refusal().is_some() {
        node.outcomes.lock().unwrap().pop_back();
    }
    answer.is_refusal()
}

async fn tripped() -> (Breaker<Scripted>, Scripted) {
    let node = Scripted::default();
    let breaker = BreakerLayer::new(BreakerPolicy::default(), "n").wrap(node.clone());
    for _ in 0..5 {
        assert_eq!(send(&breaker, &node, Outcome::HttpError(502)).await, None);
    }
    (breaker, node)
}

const OPEN: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_tripped_breaker_says_how_long_to_wait_and_keeps_its_word() {
    let (breaker, node) = tripped().await;
    tokio::time::advance(Duration::from_millis(500)).await;
    let refused = breaker.handle(ping()).await;
    assert_eq!(refused.is_refusal(), Some(Reason::BreakerOpen));
    assert_eq!(refused.outcome(), Some(Outcome::Refused));
    assert_eq!(refused.head().headers["retry-after"], "30", "29.5 s rounded up");
    let body: Value = serde_json::from_slice(refused.message().unwrap()).unwrap();
    assert_eq!(body["error"]["data"]["retryAfterMs"], 29_500);
    tokio::time::advance(Duration::from_millis(29_500)).await;
    assert_eq!(send(&breaker, &node, Outcome::Ok).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_a_tool_names_it() {
    let node = Scripted::default();
    let breaker = BreakerLayer::new(BreakerPolicy::default(), "n").wrap(node.clone());
    for _ in 0..5 {
        node.then(Outcome::TimedOut);
        node.then(Outcome::Ok);
        breaker.handle(request(Method::TOOLS_CALL, Some("slow"))).await;
        breaker.handle(ping()).await;
    }
    let refused = breaker.handle(request(Method::TOOLS_CALL, Some("slow"))).await;
    let body: Value = serde_json::from_slice(refused.message().unwrap()).unwrap();
    assert!(body["error"]["message"].as_str().unwrap().ends_with("tool `slow` of node `n` keeps failing"));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_settles_as_cancelled_and_its_probe_place_is_free() {
    let (breaker, node) = tripped().await;
    tokio::time::advance(OPEN).await;
    node.then(None);
    let mut probe = Box::pin(breaker.handle(ping()));
    assert!(probe.as_mut().now_or_never().is_none());
    assert_eq!(send(&breaker, &node, Outcome::Ok).await, Some(Reason::BreakerOpen));
    drop(probe);
    assert_eq!(send(&breaker, &node, Outcome::Ok).await, None);
}

#[tokio::test(start_paused = true)]
async fn the_gauge_is_set_at_the_start_and_on_changes_only() {
    let spy = Spy::default();
    let _guard = set_default_local_recorder(&spy);
    let (breaker, node) = tripped().await;
    tokio::time::advance(OPEN).await;
    for _ in 0..20 {
        send(&breaker, &node, Outcome::Ok).await;
    }
    let expected = [0, 2, 1, 0].map(|value| format!("mcp_guard_breaker_state{{node=n,tool=}} {value}"));
    assert_eq!(spy.seen(), expected);
}

#[tokio::test(start_paused = true)]
async fn the_layer_alone_guards_an_http_service() {
    let node = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::builder().status(503).body(Full::<Bytes>::default()).unwrap())
    });
    let service = BreakerLayer::new(BreakerPolicy::default(), "n").layer(node);
    let post = || {
        let request = Request::post("/mcp").header("host", "localhost").header("content-type", "application/json");
        request.body(Full::new(Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#))).unwrap()
    };
    for _ in 0..5 {
        assert_eq!(service.clone().oneshot(post()).await.unwrap().status(), 503);
    }
    let refused = service.oneshot(post()).await.unwrap();
    let body: Value = serde_json::from_slice(&refused.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(body["error"]["data"]["guard"], "breaker_open");
}

/// An http service that answers with an event stream of `chunks`, which then hangs or breaks off.
fn streaming(
    chunks: &'static [&'static str],
    breaks: bool,
) -> impl Handler<Body: http_body::Body<Data = Bytes, Error = std::io::Error>> {
    let node = service_fn(move |_: Request<Full<Bytes>>| {
        let chunks = chunks.iter().map(|chunk| Ok(http_body::Frame::data(Bytes::from_static(chunk.as_bytes()))));
        let end: Vec<Result<_, std::io::Error>> =
            if breaks { vec![Err(std::io::Error::other("gone"))] } else { vec![] };
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(chunks.chain(end).collect::<Vec<_>>()));
        let response = Response::builder().header("content-type", "text/event-stream").body(body).unwrap();
        std::future::ready(Ok::<_, Infallible>(response))
    });
    BreakerLayer::new(BreakerPolicy::default(), "n").wrap(crate::middleware::Node::new(node))
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_off_before_the_answer_is_a_failure() {
    let breaker = streaming(&["data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n"], true);
    for _ in 0..5 {
        let answer = breaker.handle(ping()).await;
        assert_eq!(answer.is_refusal(), None);
        let told = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(std::str::from_utf8(&told).unwrap().contains(r#""guard":"upstream_failed""#), "{told:?}");
    }
    assert_eq!(breaker.handle(ping()).await.is_refusal(), Some(Reason::BreakerOpen));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_meant_to_stay_open_is_a_success_when_it_begins() {
    let breaker = streaming(&[], true);
    let listen = || {
        let call = Call::new(Kind::Listen, Method::NONE, Revision::V2025_11_25);
        McpRequest::new(Arc::new(Request::new(()).into_parts().0), Bytes::new(), Arc::new(call))
    };
    for _ in 0..10 {
        let answer = breaker.handle(listen()).await;
        assert_eq!(answer.is_refusal(), None);
        assert!(answer.into_body().collect().await.is_err());
    }
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Start(bool),
    Drop(usize),
    Advance(u64),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However calls end, hang or are dropped: once all are gone and time has passed, a good node is served again.
    #[test]
    fn no_sequence_of_answers_and_drops_leaves_the_breaker_stuck(ops in prop::collection::vec(
        prop_oneof![
            any::<bool>().prop_map(Op::Start),
            any::<usize>().prop_map(Op::Drop),
            (0_u64..20_000).prop_map(Op::Advance),
        ],
        1..100,
    )) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (breaker, node) = tripped().await;
            let mut hanging = Vec::new();
            for op in ops {
                match op {
                    Op::Start(hangs) => {
                        node.then(if hangs { None } else { Some(Outcome::Broken) });
                        let mut call = Box::pin(breaker.handle(ping()));
                        match call.as_mut().now_or_never() {
                            Some(_) => node.outcomes.lock().unwrap().clear(),
                            None => hanging.push(call),
                        }
                    }
                    Op::Drop(which) if !hanging.is_empty() => drop(hanging.swap_remove(which % hanging.len())),
                    Op::Drop(_) => {}
                    Op::Advance(ms) => tokio::time::advance(Duration::from_millis(ms)).await,
                }
            }
            hanging.clear();
            tokio::time::advance(OPEN * 10).await;
            for _ in 0..20 {
                assert_eq!(send(&breaker, &node, Outcome::Ok).await, None);
            }
        });
    }
}
