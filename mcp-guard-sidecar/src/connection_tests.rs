//! Connections on real sockets, in virtual time, in front of an upstream that always says the same.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::Pending;
use http::Response;
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use mcp_guard::GuardLayer;
use mcp_guard::config::GuardConfig;
use mcp_guard::middleware::{McpRequest, Upstream, UpstreamError};
use mcp_guard::queue::Pressure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::Layer;

use super::*;
use crate::drain::Drain;
use crate::setup::Setup;

struct Same;

impl Upstream for Same {
    type Body = Full<Bytes>;

    async fn send(&self, _: McpRequest) -> Result<Response<Full<Bytes>>, UpstreamError> {
        Ok(Response::new(Full::from(ANSWER)))
    }
}

/// Streams events, and has none to tell.
struct Silent;

impl Upstream for Silent {
    type Body = StreamBody<Pending<Result<Frame<Bytes>, Infallible>>>;

    async fn send(&self, _: McpRequest) -> Result<Response<Self::Body>, UpstreamError> {
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok(response.body(StreamBody::new(futures_util::stream::pending())).unwrap())
    }
}

const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const SILENCE: Silence = Silence { first: Duration::from_secs(10), between: Duration::from_secs(75) };

fn app(upstream: impl Upstream) -> Arc<GuardApp<impl Handler>> {
    let service = GuardLayer::new(GuardConfig::default()).layer(upstream);
    let connections = Connections::new(Drain::new(Duration::ZERO), 10, 10);
    let setup = Setup::new(service, SILENCE).current();
    Arc::new(GuardApp::new(setup, connections, Arc::new(Memory::new(u64::MAX, Pressure::default()))))
}

async fn pair() -> (TcpStream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    // Else a part waits for the other's ACK, which comes in real time.
    client.set_nodelay(true).unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    (client, Box::new(pingora::protocols::l4::stream::Stream::from(accepted)))
}

/// A client whose connection is served, and the end of that.
async fn served() -> (TcpStream, JoinHandle<Result<(), BoxError>>) {
    served_by(Same).await
}

async fn served_by(upstream: impl Upstream) -> (TcpStream, JoinHandle<Result<(), BoxError>>) {
    let (client, stream) = pair().await;
    (client, tokio::spawn(async move { app(upstream).served_out(stream, CLIENT).await }))
}

fn ping() -> Vec<u8> {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let head = "POST /mcp HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\ncontent-length: ";
    format!("{head}{}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn read_answer(client: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    while !answer.ends_with(ANSWER.as_bytes()) {
        answer.push(client.read_u8().await.expect("an answer"));
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_connection_serves_on_until_it_is_silent_for_too_long() {
    let (mut client, server) = served().await;
    for pause in [0, 5, 74, 1] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        client.write_all(&ping()).await.unwrap();
        let answer = read_answer(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("close"), "{answer}");
    }
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    server.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_says_nothing_shows_that_it_lives() {
    let (mut client, _server) = served_by(Silent).await;
    client.write_all(b"GET /mcp HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(client.read_u8().await.unwrap());
    }
    let head = String::from_utf8(answer).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("\r\nx-accel-buffering: no\r\n"), "{head}");
    let start = clock::now();
    for sign in 1..=3 {
        let mut chunk = [0; 8];
        client.read_exact(&mut chunk).await.unwrap();
        assert_eq!((&chunk, (clock::now() - start).as_secs()), (b"3\r\n:\n\n\r\n", sign * 25));
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_may_come_in_parts() {
    let (mut client, server) = served().await;
    client.write_all(&ping()).await.unwrap();
    read_answer(&mut client).await;
    for part in ping().chunks(40) {
        client.write_all(part).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    read_answer(&mut client).await;
    drop(client);
    server.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_spoken_http_1_does_not_change_to_http_2() {
    let (mut client, server) = served().await;
    client.write_all(&ping()).await.unwrap();
    read_answer(&mut client).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    // HTTP/2 would begin with its settings.
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    server.await.unwrap().unwrap();
}
