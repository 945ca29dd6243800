//! Retry as a handler and as a layer, in virtual time.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use metrics::set_default_local_recorder;
use tower::{Layer, ServiceExt, service_fn};

use super::{Hints, InvalidRetry, Retry, RetryLayer, RetryPolicy, RetrySpec, ToolHints};
use crate::breaker::spy::Spy;
use crate::call::{Call, Kind, Method};
use crate::middleware::{Answer, Handler, McpRequest, Node, Upstream, UpstreamError, clock};
use crate::outcome::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::revision::Revision;
use crate::units::Span;

/// What the node does with one attempt.
#[derive(Clone, Copy)]
struct Act {
    takes: Duration,
    outcome: Outcome,
    retry_after: Option<&'static str>,
}

fn act(outcome: Outcome) -> Act {
    Act { takes: Duration::ZERO, outcome, retry_after: None }
}

fn slow(ms: u64, outcome: Outcome) -> Act {
    Act { takes: Duration::from_millis(ms), ..act(outcome) }
}

/// A node that acts as told, remembers when it was asked, and repeats its last act.
#[derive(Clone)]
struct Scripted {
    acts: Arc<Mutex<VecDeque<Act>>>,
    asked_at: Arc<Mutex<Vec<Instant>>>,
}

impl Scripted {
    fn new(acts: &[Act]) -> Self {
        Self { acts: Arc::new(Mutex::new(acts.iter().copied().collect())), asked_at: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked_at.lock().unwrap().len()
    }

    fn wait_before(&self, attempt: usize) -> Duration {
        let asked_at = self.asked_at.lock().unwrap();
        asked_at[attempt] - asked_at[attempt - 1]
    }
}

impl Handler for Scripted {
    type Body = Full<Bytes>;

    async fn handle(&self, request: McpRequest) -> Answer<Full<Bytes>> {
        self.asked_at.lock().unwrap().push(clock::now());
        let act = {
            let mut acts = self.acts.lock().unwrap();
            let act = acts[0];
            if acts.len() > 1 {
                acts.pop_front();
            }
            act
        };
        tokio::time::sleep(act.takes).await;
        if act.outcome == Outcome::Refused {
            return Answer::refuse(&Refusal::new(Reason::BreakerOpen, "x").retry_after(act.takes), &request.call);
        }
        let (mut head, ()) = Response::new(()).into_parts();
        if let Some(text) = act.retry_after {
            head.headers.insert("retry-after", text.parse().unwrap());
        }
        let answer = Answer::whole(head, Bytes::new(), act.outcome);
        if act.outcome == Outcome::Unreachable { answer.with_unsent(Box::new(request)) } else { answer }
    }
}

fn request(method: &str) -> McpRequest {
    let mut call = Call::new(Kind::Request, Method::new(method), Revision::V2025_11_25);
    call.target = Some("tool".into());
    McpRequest::new(Arc::new(Request::new(()).into_parts().0), Bytes::new(), Arc::new(call))
}

fn retry(node: &Scripted, spec: RetrySpec) -> Retry<Scripted> {
    RetryLayer::new(spec.try_into().unwrap()).wrap(node.clone())
}

async fn send(node: &Scripted, method: &str) -> Outcome {
    retry(node, RetrySpec::default()).handle(request(method)).await.outcome().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_read_is_sent_again_until_it_succeeds() {
    let node = Scripted::new(&[act(Outcome::Broken), act(Outcome::HttpError(503)), act(Outcome::Ok)]);
    assert_eq!(send(&node, Method::TOOLS_LIST).await, Outcome::Ok);
    assert_eq!(node.asked(), 3);
    assert!(Duration::from_millis(50) <= node.wait_before(1));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded_and_the_last_answer_is_given() {
    let node = Scripted::new(&[act(Outcome::Broken), act(Outcome::Broken), act(Outcome::HttpError(502))]);
    assert_eq!(send(&node, Method::PING).await, Outcome::HttpError(502));
    assert_eq!(node.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_tool_call_that_may_have_run_is_never_sent_again() {
    for outcome in [Outcome::Broken, Outcome::HttpError(503), Outcome::TimedOut, Outcome::ServerError(-32603)] {
        let node = Scripted::new(&[act(outcome), act(Outcome::Ok)]);
        assert_eq!(send(&node, Method::TOOLS_CALL).await, outcome);
        assert_eq!(node.asked(), 1, "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_call_of_which_nothing_was_sent_is_sent_again() {
    let node = Scripted::new(&[act(Outcome::Unreachable), act(Outcome::Ok)]);
    assert_eq!(send(&node, Method::TOOLS_CALL).await, Outcome::Ok);
}

#[tokio::test(start_paused = true)]
async fn a_json_rpc_error_is_an_answer_even_to_a_read() {
    let node = Scripted::new(&[act(Outcome::ServerError(-32603)), act(Outcome::Ok)]);
    assert_eq!(send(&node, Method::TOOLS_LIST).await, Outcome::ServerError(-32603));
    assert_eq!(node.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_from_further_in_is_not_retried() {
    let node = Scripted::new(&[act(Outcome::Refused)]);
    assert_eq!(send(&node, Method::TOOLS_LIST).await, Outcome::Refused);
    assert_eq!(node.asked(), 1);
}

struct ReadOnly;

impl Hints for ReadOnly {
    fn hints(&self, _: &str) -> Option<ToolHints> {
        Some(ToolHints { read_only: true, idempotent: false })
    }
}

#[tokio::test(start_paused = true)]
async fn hints_count_only_where_the_operator_trusts_them() {
    for (trust_annotations, asked) in [(true, 2), (false, 1)] {
        let node = Scripted::new(&[act(Outcome::Broken), act(Outcome::Ok)]);
        let policy = RetryPolicy::try_from(RetrySpec { trust_annotations, ..RetrySpec::default() }).unwrap();
        let retry = RetryLayer::new(policy).hints(Arc::new(ReadOnly)).wrap(node.clone());
        retry.handle(request(Method::TOOLS_CALL)).await;
        assert_eq!(node.asked(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn the_nodes_retry_after_is_waited_out_and_one_that_is_too_long_is_passed_on() {
    let asking = |text| Act { retry_after: Some(text), ..act(Outcome::HttpError(503)) };
    let node = Scripted::new(&[asking("3"), act(Outcome::Ok)]);
    assert_eq!(send(&node, Method::PING).await, Outcome::Ok);
    assert_eq!(node.wait_before(1), Duration::from_secs(3));
    let node = Scripted::new(&[asking("60"), act(Outcome::Ok)]);
    let answer = retry(&node, RetrySpec::default()).handle(request(Method::PING)).await;
    assert_eq!(answer.head().headers["retry-after"], "60");
    assert_eq!(node.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_guards_own_retry_after_is_for_callers_and_delays_no_retry() {
    let node = service_fn(async |_: Request<Full<Bytes>>| {
        Err::<Response<Full<Bytes>>, _>(UpstreamError::Unavailable("refused".into()))
    });
    let start = clock::now();
    let answer = RetryLayer::new(RetryPolicy::default()).wrap(Node::new(node)).handle(request(Method::PING)).await;
    assert_eq!(answer.head().headers["retry-after"], "1");
    assert!(clock::now() - start <= Duration::from_millis(150 + 450));
}

#[tokio::test(start_paused = true)]
async fn no_attempt_starts_after_the_deadline() {
    let node = Scripted::new(&[slow(100, Outcome::Broken)]);
    let mut request = request(Method::PING);
    request.deadline = Some(clock::now() + Duration::from_millis(149));
    let answer = retry(&node, RetrySpec::default()).handle(request).await;
    assert_eq!((answer.outcome(), node.asked()), (Some(Outcome::Broken), 1));
}

/// Sends nothing, and gives back a request that knows nothing but what it must.
struct Unreachable;

impl Upstream for Unreachable {
    type Body = Full<Bytes>;

    async fn send(&self, request: McpRequest) -> Result<Response<Full<Bytes>>, UpstreamError> {
        let request = Box::new(McpRequest::new(request.head, request.body, request.call));
        Err(UpstreamError::Unsent { detail: "refused".into(), request })
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_unsent_is_not_sent_again_after_its_deadline() {
    let mut request = request(Method::TOOLS_CALL);
    let start = clock::now();
    request.deadline = Some(start + Duration::from_millis(40));
    let answer = RetryLayer::new(RetryPolicy::default()).wrap(Node::new(Unreachable)).handle(request).await;
    assert_eq!((answer.outcome(), clock::now() - start), (Some(Outcome::Unreachable), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn the_budget_ends_retries_when_everything_fails() {
    let node = Scripted::new(&[act(Outcome::HttpError(503))]);
    let retry = retry(&node, RetrySpec { budget: 0.2, base: Span(Duration::from_millis(1)), ..RetrySpec::default() });
    for _ in 0..1_000 {
        retry.handle(request(Method::PING)).await;
    }
    let retries = node.asked() - 1_000;
    assert!((190..=230).contains(&retries), "{retries}");
}

#[tokio::test(start_paused = true)]
async fn each_way_to_end_is_counted_once_and_calls_without_retries_are_not() {
    let spy = Spy::default();
    let _guard = set_default_local_recorder(&spy);
    let counted = |outcome: &str| vec![format!("mcp_guard_retries_total{{outcome={outcome}}} 1")];
    send(&Scripted::new(&[act(Outcome::Ok)]), Method::PING).await;
    send(&Scripted::new(&[act(Outcome::ServerError(-32603))]), Method::PING).await;
    assert_eq!(spy.seen(), [""; 0]);
    send(&Scripted::new(&[act(Outcome::Broken), act(Outcome::Ok)]), Method::PING).await;
    assert_eq!(spy.seen(), counted("success"));
    send(&Scripted::new(&[act(Outcome::Broken)]), Method::PING).await;
    assert_eq!(spy.seen(), counted("exhausted"));
    send(&Scripted::new(&[Act { retry_after: Some("99"), ..act(Outcome::HttpError(429)) }]), Method::PING).await;
    assert_eq!(spy.seen(), counted("deadline"));
    let node = Scripted::new(&[act(Outcome::Broken)]);
    let retry = retry(&node, RetrySpec { budget: 0.0, ..RetrySpec::default() });
    futures_util::future::join_all((0..20).map(|_| retry.handle(request(Method::PING)))).await;
    assert!(spy.seen().iter().any(|line| line.contains("budget")));
}

fn hedging() -> RetrySpec {
    RetrySpec { hedge_after: Some(Span(Duration::from_millis(100))), ..RetrySpec::default() }
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_is_hedged_and_the_first_good_answer_wins() {
    let spy = Spy::default();
    let _guard = set_default_local_recorder(&spy);
    for (first, second, won, takes_ms) in [
        (slow(1_000, Outcome::Ok), slow(10, Outcome::Ok), "second", 110),
        (slow(150, Outcome::Ok), slow(900, Outcome::Ok), "first", 150),
        (slow(150, Outcome::Broken), slow(200, Outcome::Ok), "second", 300),
    ] {
        let node = Scripted::new(&[first, second]);
        let start = clock::now();
        let answer = retry(&node, hedging()).handle(request(Method::TOOLS_LIST)).await;
        assert_eq!((answer.outcome(), node.asked()), (Some(Outcome::Ok), 2));
        assert_eq!(clock::now() - start, Duration::from_millis(takes_ms));
        assert_eq!(spy.seen(), [format!("mcp_guard_hedges_total{{outcome={won}}} 1")]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_only_read_or_has_a_session_is_never_hedged() {
    let mut in_session = request(Method::TOOLS_LIST);
    Arc::make_mut(&mut in_session.call).session = Some("s".into());
    for request in [request(Method::TOOLS_CALL), request(Method::LOGGING_SET_LEVEL), in_session] {
        let node = Scripted::new(&[slow(1_000, Outcome::Ok)]);
        retry(&node, hedging()).handle(request).await;
        assert_eq!(node.asked(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn hedges_are_paid_from_the_budget() {
    let node = Scripted::new(&[slow(1_000, Outcome::Ok)]);
    let retry = retry(&node, RetrySpec { budget: 0.0, ..hedging() });
    futures_util::future::join_all((0..50).map(|_| retry.handle(request(Method::PING)))).await;
    assert_eq!(node.asked(), 50 + 10);
}

#[tokio::test(start_paused = true)]
async fn the_layer_alone_retries_an_http_service() {
    let statuses = Arc::new(Mutex::new(vec![200, 503]));
    let node = service_fn(move |_: Request<Full<Bytes>>| {
        let status = statuses.lock().unwrap().pop().unwrap();
        let body = Full::new(Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#));
        std::future::ready(Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()))
    });
    let service = RetryLayer::new(RetryPolicy::default()).layer(node);
    let request = Request::post("/mcp").header("host", "localhost").header("content-type", "application/json");
    let body = Full::new(Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#));
    assert_eq!(service.oneshot(request.body(body).unwrap()).await.unwrap().status(), StatusCode::OK);
}

#[test]
fn a_policy_that_cannot_be_meant_says_what_is_allowed() {
    let bad = |spec| RetryPolicy::try_from(spec).unwrap_err();
    let spec = RetrySpec::default();
    let zero = Span(Duration::ZERO);
    assert_eq!(bad(RetrySpec { base: zero, ..spec }).to_string(), "base is 0s: allowed is 1ms to cap, which is 2s");
    assert_eq!(
        bad(RetrySpec { attempts: 11.try_into().unwrap(), ..spec }).to_string(),
        "attempts is 11: allowed is 1 to 10"
    );
    assert_eq!(bad(RetrySpec { budget: 1.5, ..spec }), InvalidRetry::Budget(1.5));
    assert_eq!(bad(RetrySpec { hedge_after: Some(zero), ..spec }), InvalidRetry::HedgeAfterZero);
    assert!(matches!(bad(RetrySpec { cap: Span(Duration::from_secs(61)), ..spec }), InvalidRetry::Cap(_)));
}

#[test]
fn the_written_defaults_are_those_of_the_contract() {
    let written = r#"{"attempts":3,"base":"50ms","cap":"2s","budget":0.2,"trust_annotations":false}"#;
    assert_eq!(serde_json::to_string(&RetryPolicy::default()).unwrap(), written);
    assert_eq!(serde_json::from_str::<RetryPolicy>("{}").unwrap(), RetryPolicy::default());
}
