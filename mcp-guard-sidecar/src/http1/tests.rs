//! Connections over pipes in memory, in virtual time.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use mcp_guard::middleware::clock;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::request_body::RequestBody;
use super::*;
use crate::activity::Silence;

const SILENCE: Silence = Silence { first: Duration::from_secs(10), between: Duration::from_secs(75) };

pub(super) type Answer = Response<BoxBody<Bytes, Infallible>>;
pub(super) type Answering = BoxFuture<'static, Result<Answer, Infallible>>;

/// A client, and the end of its connection.
pub(super) struct Client {
    wire: DuplexStream,
    pub(super) served: JoinHandle<Result<(), Http1Error>>,
}

impl Client {
    pub(super) fn of(answer: impl Fn(Request<RequestBody<DuplexStream>>) -> Answering + Send + 'static) -> Self {
        Self::until(answer, std::future::pending())
    }

    fn until(
        answer: impl Fn(Request<RequestBody<DuplexStream>>) -> Answering + Send + 'static,
        ends: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (wire, io) = tokio::io::duplex(4096);
        let connection = server::Connection::new(io, Bytes::new(), SILENCE, clock::now(), ends);
        Self { wire, served: tokio::spawn(async { connection.serve(answer).await.map(|_| ()) }) }
    }

    /// One that gets back what it sends: method, target and body.
    fn of_echo() -> (Self, Arc<Mutex<Vec<String>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keeps = Arc::clone(&seen);
        (Self::of(move |request| echo(request, Arc::clone(&keeps))), seen)
    }

    pub(super) async fn write(&mut self, text: impl AsRef<[u8]>) {
        self.wire.write_all(text.as_ref()).await.unwrap();
    }

    /// What comes until it ends with `end`.
    pub(super) async fn read_until(&mut self, end: &str) -> String {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            match self.wire.read_u8().await {
                Ok(byte) => read.push(byte),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&read)),
            }
        }
        String::from_utf8(read).unwrap()
    }

    /// All that comes until the connection is closed.
    pub(super) async fn rest(&mut self) -> String {
        let mut read = Vec::new();
        self.wire.read_to_end(&mut read).await.unwrap();
        String::from_utf8(read).unwrap()
    }
}

fn echo(request: Request<RequestBody<DuplexStream>>, seen: Arc<Mutex<Vec<String>>>) -> Answering {
    Box::pin(async move {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else { return Ok(whole("the body broke off")) };
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        seen.lock().unwrap().push(format!("{} {} {text}", head.method, head.uri));
        Ok(whole(&format!("<{text}>")))
    })
}

fn whole(text: &str) -> Answer {
    Response::new(Full::from(text.to_owned()).boxed())
}

/// An answer that nobody waits for to read the request.
fn at_once(_: Request<RequestBody<DuplexStream>>) -> Answering {
    Box::pin(std::future::ready(Ok(whole("early"))))
}

pub(super) fn post(body: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(start_paused = true)]
async fn requests_that_come_together_are_answered_in_their_order() {
    let (mut client, _) = Client::of_echo();
    client.write([post("one"), post(""), post("three")].concat()).await;
    for body in ["<one>", "\r\n\r\n<>", "<three>"] {
        let answer = client.read_until(body).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\ncontent-length: "), "{answer}");
        assert!(answer.contains("\r\ndate: ") && !answer.contains("connection"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_may_be_split_anywhere() {
    let chunked = "POST /c HTTP/1.1\r\nhost: h\r\ntransfer-encoding: Chunked\r\n\r\n3;x=y\r\none\r\n0\r\nt: 1\r\n\r\n";
    for request in [post("one"), chunked.to_owned()] {
        for place in 1..request.len() {
            let (mut client, _) = Client::of_echo();
            let (start, end) = request.split_at(place);
            client.write(start).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            client.write(end).await;
            client.read_until("<one>").await;
            client.write(post("next")).await;
            client.read_until("<next>").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_be_read_in_two_ways_is_refused_with_an_answer_and_is_the_last() {
    let framings = [
        "content-length: 3\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
        "content-length: 3\r\ncontent-length: 3\r\n",
        "content-length: 3, 3\r\n",
        "content-length: +3\r\n",
        "content-length: \r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: identity\r\n",
        "content-length : 3\r\n",
        "x: 1\r\n content-length: 3\r\n",
        "x\r\n",
        "x: \0\r\n",
    ];
    for framing in framings {
        let (mut client, seen) = Client::of_echo();
        client
            .write(format!("POST /mcp HTTP/1.1\r\nhost: h\r\n{framing}\r\n3\r\none\r\n0\r\n\r\n{}", post("no")))
            .await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{framing:?}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n") && answer.contains("invalid_header"), "{answer}");
        assert_eq!(answer.matches("\r\n\r\n").count(), 1, "{answer}");
        assert_eq!(*seen.lock().unwrap(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn chunks_that_are_not_exactly_that_break_the_body() {
    let bodies = [
        "3\none\r\n0\r\n\r\n",
        "3\r\none\n0\r\n\r\n",
        "4\r\none\r\n0\r\n\r\n",
        "2\r\none\r\n0\r\n\r\n",
        "x\r\n",
        " 3\r\n",
        "-1\r\n",
        "\r\n",
        "3 x\r\none\r\n",
        "3;\0\r\none\r\n",
        "11111111111111111\r\n",
        "0\r\nt: 1\n\r\n",
    ];
    for body in bodies {
        let (mut client, seen) = Client::of_echo();
        client.write(format!("POST /mcp HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n{body}")).await;
        client.wire.shutdown().await.unwrap();
        let answer = client.rest().await;
        assert!(answer.is_empty() || answer.contains("the body broke off"), "{body:?}: {answer}");
        assert_eq!(*seen.lock().unwrap(), [""; 0], "{body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lines_without_an_end_are_not_kept() {
    let (mut client, _) = Client::of_echo();
    let head = "POST /mcp HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write(format!("{head}3;{}", "x".repeat(300))).await;
    client.read_until("the body broke off").await;
    let (mut client, _) = Client::of_echo();
    client.write(format!("{head}0\r\nt: {}", "x".repeat(9000))).await;
    client.read_until("the body broke off").await;
}

#[tokio::test(start_paused = true)]
async fn a_head_is_bounded_in_bytes_and_in_fields() {
    let bytes = format!("x: {}\r\n", "y".repeat(150 * 1024));
    let fields = "x: y\r\n".repeat(129);
    for head in [bytes, fields] {
        let (client, seen) = Client::of_echo();
        let (mut read, mut write) = tokio::io::split(client.wire);
        let written = async move {
            let _ = write.write_all(format!("GET / HTTP/1.1\r\nhost: h\r\n{head}\r\n").as_bytes()).await;
        };
        let mut answer = String::new();
        let (_, read) = tokio::join!(written, read.read_to_string(&mut answer));
        read.unwrap();
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert!(seen.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_of_http_1_0_is_answered_in_its_own_way() {
    let (mut client, _) = Client::of_echo();
    client.write("GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").await;
    let answer = client.read_until("<>").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.contains("\r\nconnection: keep-alive\r\n"), "{answer}");
    client.write("GET /b HTTP/1.0\r\n\r\n").await;
    assert!(client.rest().await.contains("\r\nconnection: close\r\n"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_close_is_answered_and_closed() {
    let (mut client, _) = Client::of_echo();
    client.write("GET / HTTP/1.1\r\nhost: h\r\nconnection: TE, Close\r\n\r\n").await;
    assert!(client.rest().await.contains("\r\nconnection: close\r\n"));
}

#[tokio::test(start_paused = true)]
async fn empty_lines_before_a_request_mean_nothing() {
    let (mut client, _) = Client::of_echo();
    client.write(format!("\r\n\n{}\r\n{}", post("one"), post("two"))).await;
    assert!(client.read_until("<two>").await.contains("<one>"));
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_head_has_a_length_and_no_body() {
    let (mut client, _) = Client::of_echo();
    client.write("HEAD / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(client.read_until("\r\n\r\n").await.contains("content-length: 2\r\n"));
    client.write(post("next")).await;
    assert!(client.read_until("<next>").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_to_be_asked_is_asked_once() {
    let (mut client, _) = Client::of_echo();
    let head = "POST /mcp HTTP/1.1\r\nhost: h\r\nexpect: 100-Continue\r\ncontent-length: 3\r\n\r\n";
    client.write(head).await;
    assert_eq!(client.read_until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write("one").await;
    assert!(client.read_until("<one>").await.starts_with("HTTP/1.1 200 OK"));
    client.write(format!("{head}two")).await;
    assert!(client.read_until("<two>").await.starts_with("HTTP/1.1 200 OK"), "it did not wait");
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_a_body_that_is_not_read_is_the_last() {
    let mut client = Client::of(at_once);
    client.write("POST /mcp HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nhalf").await;
    let answer = client.read_until("early").await;
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    client.write("the rest").await;
    assert_eq!(client.rest().await, "");
}

/// An answer in parts, which come out of the channel.
fn parts() -> (mpsc::Sender<Bytes>, Answer) {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(1);
    let frames = futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|part| part.map(|part| Ok::<_, Infallible>(http_body::Frame::data(part))))
    });
    (sender, Response::new(StreamBody::new(frames).boxed()))
}

/// A client whose one answer comes in parts.
fn streamed() -> (Client, mpsc::Sender<Bytes>) {
    let (sender, answer) = parts();
    let answer = Mutex::new(Some(answer));
    let client = Client::of(move |_| {
        let answer = answer.lock().unwrap().take().unwrap();
        Box::pin(std::future::ready(Ok(answer)))
    });
    (client, sender)
}

#[tokio::test(start_paused = true)]
async fn parts_of_a_stream_go_out_as_they_come() {
    let (mut client, parts) = streamed();
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(client.read_until("\r\n\r\n").await.contains("transfer-encoding: chunked\r\n"));
    let long = "x".repeat(10_000);
    for part in ["one", "seventeen letters", long.as_str()] {
        let (sent, read) = (parts.send(Bytes::from(part.to_owned())), format!("{:x}\r\n{part}\r\n", part.len()));
        let (sent, seen) = tokio::join!(sent, client.read_until(&read));
        sent.unwrap();
        assert_eq!(seen, read);
    }
    drop(parts);
    assert_eq!(client.read_until("0\r\n\r\n").await, "0\r\n\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_part_of_its_answer_is_let_go() {
    let (mut client, parts) = streamed();
    client.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n").await;
    parts.send(Bytes::from("x".repeat(8192))).await.unwrap();
    // It takes some after a minute, and then nothing.
    tokio::time::sleep(Duration::from_secs(60)).await;
    client.wire.read_exact(&mut [0; 1024]).await.unwrap();
    let begun = clock::now();
    assert!(matches!(client.served.await.unwrap(), Err(Http1Error::Stalled)));
    assert_eq!((clock::now() - begun).as_secs(), 75);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_waits_for_is_dropped_when_it_leaves() {
    let (held, mut dropped) = oneshot::channel::<()>();
    let held = Mutex::new(Some(held));
    let mut client = Client::of(move |_| {
        let held = held.lock().unwrap().take();
        Box::pin(async move {
            let _held = held;
            std::future::pending().await
        })
    });
    client.write(post("one")).await;
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert!(dropped.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
    drop(client.wire);
    assert!(dropped.await.is_err());
    client.served.await.unwrap().unwrap();
}

/// How long a connection lasts from when it was used last.
async fn lasts(client: Client) -> u64 {
    let begun = clock::now();
    client.served.await.unwrap().unwrap();
    (clock::now() - begun).as_secs()
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_ends_after_the_first_limit_and_a_used_one_after_the_second() {
    let (client, _) = Client::of_echo();
    assert_eq!(lasts(client).await, 10);
    let (mut client, _) = Client::of_echo();
    client.write("POST /mcp HT").await;
    assert_eq!(lasts(client).await, 10);
    let (mut client, _) = Client::of_echo();
    for _ in 0..3 {
        client.write(post("one")).await;
        client.read_until("<one>").await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    client.write("POST /mcp HT").await;
    assert_eq!(lasts(client).await, 15, "75 seconds from the last answer");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_has_come_is_served_and_no_more() {
    let (end, ends) = oneshot::channel::<()>();
    let seen = Arc::default();
    let mut client = Client::until(move |request| echo(request, Arc::clone(&seen)), async move { drop(ends.await) });
    client.write(post("one")).await;
    client.read_until("<one>").await;
    client.write([post("two"), post("three")].concat()).await;
    end.send(()).unwrap();
    assert!(client.read_until("<three>").await.contains("<two>"));
    assert_eq!(client.rest().await, "");
    client.served.await.unwrap().unwrap();
}

proptest! {
    #[test]
    fn nothing_that_comes_is_too_strange(
        start in "(POST|GET|PRI|)( )?(/mcp|\\*|http://h/|)( )?(HTTP/1.1|HTTP/1.0|HTTP/2.0|)(\r\n|\n|)",
        fields in prop::collection::vec("(host|content-length|transfer-encoding|connection|expect|x)(:| :)( )?[ -~]{0,8}(\r\n|\n|\r)", 0..4),
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let written = [start.as_bytes(), fields.concat().as_bytes(), b"\r\n", &rest].concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let Client { wire: mut client, .. } = Client::of(|request| {
                Box::pin(async move {
                    let _ = request.into_body().collect().await;
                    Ok(whole("read"))
                })
            });
            client.write_all(&written).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answers = Vec::new();
            client.read_to_end(&mut answers).await.unwrap();
            let answers = String::from_utf8(answers).unwrap();
            assert!(answers.is_empty() || answers.starts_with("HTTP/1."), "{answers}");
        });
    }
}
