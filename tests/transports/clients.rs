//! Clients over transports that the SDK has none for, as a stream of lines each.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use mcp_guard::middleware::EventSplitter;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// What the SDK takes for a transport.
type Pair = (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>);

pub(crate) async fn lines(address: SocketAddr) -> (tokio::net::tcp::OwnedReadHalf, tokio::net::tcp::OwnedWriteHalf) {
    TcpStream::connect(address).await.expect("a connection").into_split()
}

pub(crate) async fn web_socket(address: SocketAddr, path: &str) -> Pair {
    let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
    request.headers_mut().insert("sec-websocket-protocol", "mcp".parse().expect("a value"));
    let (mut socket, response) = tokio_tungstenite::client_async(request, dial(address).await).await.expect("a socket");
    assert_eq!(response.headers()["sec-websocket-protocol"], "mcp");
    let (pair, mut lines, mut writer) = pipe();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                line = lines.next_line() => match line {
                    Ok(Some(line)) => socket.send(Message::text(line)).await.expect("it is sent"),
                    _ => return drop(socket.close(None).await),
                },
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => tell(&mut writer, text.as_bytes()).await,
                    Some(Ok(_)) => {}
                    _ => return,
                },
            }
        }
    });
    pair
}

pub(crate) async fn sse(address: SocketAddr, path: &str) -> Pair {
    let mut events = Events::open(address, path).await;
    let endpoint = String::from_utf8(events.next().await.expect("an address").to_vec()).expect("text");
    let (pair, mut lines, mut writer) = pipe();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                line = lines.next_line() => {
                    let Ok(Some(line)) = line else { return };
                    assert_eq!(post(address, &endpoint, line).await, StatusCode::ACCEPTED);
                }
                event = events.next() => match event {
                    Some(event) => tell(&mut writer, &event).await,
                    None => return,
                },
            }
        }
    });
    pair
}

/// The SDK's end of a transport, and the lines it writes and reads at the other.
fn pipe() -> (Pair, Lines<BufReader<ReadHalf<DuplexStream>>>, WriteHalf<DuplexStream>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (reader, writer) = tokio::io::split(far);
    (tokio::io::split(near), BufReader::new(reader).lines(), writer)
}

async fn tell(writer: &mut WriteHalf<DuplexStream>, message: &[u8]) {
    // A client that is gone needs no more.
    let _ = writer.write_all(&[message, b"\n"].concat()).await;
}

async fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("an open socket");
    stream
}

/// Posts a message, and gives the status of the answer.
pub(crate) async fn post(address: SocketAddr, target: &str, message: String) -> StatusCode {
    let request = Request::post(target).header("content-type", "application/json");
    send(address, request, message).await.status()
}

async fn send(address: SocketAddr, request: http::request::Builder, body: String) -> http::Response<Incoming> {
    let (mut sender, connection) = handshake(TokioIo::new(dial(address).await)).await.expect("a connection");
    tokio::spawn(connection);
    let request = request.header("host", address.to_string()).body(Full::new(Bytes::from(body)));
    sender.send_request(request.expect("a request")).await.expect("an answer")
}

/// The data of the events of a stream.
pub(crate) struct Events {
    body: Incoming,
    splitter: EventSplitter,
    data: std::collections::VecDeque<Bytes>,
}

impl Events {
    pub(crate) async fn open(address: SocketAddr, path: &str) -> Self {
        let response = send(address, Request::get(path).header("accept", "text/event-stream"), String::new()).await;
        assert_eq!(
            (response.status(), &response.headers()["content-type"]),
            (StatusCode::OK, &"text/event-stream".parse().expect("a value"))
        );
        Self { body: response.into_body(), splitter: EventSplitter::new(1 << 20), data: Default::default() }
    }

    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        while self.data.is_empty() {
            let Ok(chunk) = self.body.frame().await?.ok()?.into_data() else { continue };
            self.data.extend(self.splitter.data(chunk).expect("small events"));
        }
        self.data.pop_front()
    }
}
