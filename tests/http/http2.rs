//! HTTP/2 without TLS, as a client speaks it that knows beforehand (RFC 9113, section 3.3).
//!
//! The client's connections run on threads of their own, so a test may wait on its own.

use std::io::{Read, Write};

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

/// A frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
/// END_STREAM and END_HEADERS.
const WHOLE: u8 = 5;
const CANCEL: [u8; 4] = 8u32.to_be_bytes();
const ENHANCE_YOUR_CALM: [u8; 4] = 11u32.to_be_bytes();

/// The kinds and payloads of the frames that come until the connection ends.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else { break };
        frames.push((head[3], payload));
        bytes = rest;
    }
    frames
}

#[test]
fn who_opens_and_resets_streams_without_end_is_told_to_go() {
    let upstream = Upstream::start();
    let guard = guard(&upstream);
    // GET /mcp on localhost, in HPACK's static table and literals.
    let head = [&[0x82, 0x86, 0x04, 4][..], b"/mcp", &[0x01, 9], b"localhost"].concat();
    let mut stream = std::net::TcpStream::connect(guard.listen).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
    for number in 0..5_000 {
        let id = 2 * number + 1;
        let opened_and_reset = [frame(HEADERS, WHOLE, id, &head), frame(RST_STREAM, 0, id, &CANCEL)].concat();
        // It may be told to go, and be cut off, before it has said all.
        if stream.write_all(&opened_and_reset).is_err() {
            break;
        }
    }
    let mut told = Vec::new();
    // What was read before a reset counts.
    let _ = stream.read_to_end(&mut told);
    let went = frames(&told).into_iter().find(|(kind, _)| *kind == GOAWAY).expect("a GOAWAY");
    assert_eq!(went.1[4..8], ENHANCE_YOUR_CALM);
    patiently("nothing is left of it", || guard.metric("mcp_guard_connections") == 0.0);
}
