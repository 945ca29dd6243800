//! HTTP/2 without TLS, as a client speaks it that knows beforehand (RFC 9113, section 3.3).
//!
//! The client's connections run on threads of their own, so a test may wait on its own.

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, call_tool, patiently, request};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{LEGACY, guard};

type Sender = SendRequest<Full<Bytes>>;

async fn connect(guard: &Guard) -> Sender {
    let stream = TcpStream::connect(guard.listen).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn post(mut sender: Sender, message: &Value) -> Response<Incoming> {
    let mut request = Request::post("http://localhost/mcp");
    for (name, value) in LEGACY {
        request = request.header(name, value);
    }
    let request = request.body(Full::from(message.to_string())).unwrap();
    sender.ready().await.unwrap();
    sender.send_request(request).await.unwrap()
}

async fn json_of(response: Response<Incoming>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_share_a_connection_and_none_waits_for_another() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let sender = connect(&guard).await;
    let held = tokio::spawn({
        let sender = sender.clone();
        async move { post(sender, &call_tool(0, "hold", json!({}))).await.status() }
    });
    patiently("the call has arrived", || upstream.calls() == 1);
    let calls = (1..=20).map(|id| {
        let sender = sender.clone();
        async move { json_of(post(sender, &call_tool(id, "echo", json!({}))).await).await["id"] == id }
    });
    assert!(join_all(calls).await.into_iter().all(|same| same));
    upstream.release(1);
    assert_eq!(held.await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_one_by_one() {
    let (upstream, events) = Upstream::streaming("tools/call");
    let guard = guard(&upstream);
    let response = post(connect(&guard).await, &call_tool(1, "echo", json!({}))).await;
    let mut body = response.into_body();
    for n in 1..=3 {
        events.send(&json!({"n": n}));
        let frame = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(frame, format!("data: {{\"n\":{n}}}\n\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_reset_frees_its_place_and_spares_the_others() {
    let (upstream, events) = Upstream::streaming("tools/call");
    let guard = guard(&upstream);
    let sender = connect(&guard).await;
    let response = post(sender.clone(), &call_tool(1, "echo", json!({}))).await;
    drop(response);
    patiently("the node's connection is closed", || events.is_closed());
    patiently("its place is free", || guard.metric("mcp_guard_in_flight") == 0.0);
    assert_eq!(post(sender, &request(2, "ping", json!({}))).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_the_same_as_in_http_1() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let response = post(connect(&guard).await, &json!({"jsonrpc": "2.0", "id": {}, "method": "ping"})).await;
    assert_eq!(response.status(), 400);
    assert_eq!(json_of(response).await["error"]["data"]["guard"], "invalid_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_told_so() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    let mut sender = connect(&guard).await;
    let mut request = Request::post("http://localhost/mcp");
    for at in 0..5 {
        request = request.header(format!("x-{at}"), "x".repeat(15 << 10));
    }
    let response = sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 431);
    assert_eq!(json_of(response).await["error"]["data"]["guard"], "headers_too_large");
}
