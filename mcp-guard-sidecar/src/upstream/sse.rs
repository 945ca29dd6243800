//! Nodes that speak the HTTP with server-sent events of 2024-11-05, one stream for each [session](super::sessions).
//!
//! The stream's first event says where messages are posted to; all that the node has to say comes on the stream. An
//! address on another host is refused: what a client sends is for this node.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{self, Connected};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mcp_guard::middleware::headers::{EVENT_STREAM, is_event_stream};
use mcp_guard::middleware::{EventSplitter, UpstreamError};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use url::Url;

use super::dial::{Dialer, NodeStream};
use super::sessions::{Connection, Inlet, Keeper, Line, Link, MESSAGE_BYTES_MAX};

/// The way to a node whose stream is at a URL.
#[derive(Debug)]
pub(crate) struct EventStream {
    url: Uri,
    client: HttpClient,
}

type HttpClient = Client<Connector, Full<Bytes>>;

/// Makes hyper's connections. It is asked by a URL each time, and there is one node.
#[derive(Clone, Debug)]
struct Connector(Dialer);

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<NodeStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<NodeStream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dialer = self.0.clone();
        Box::pin(async move { dialer.dial().await.map(TokioIo::new) })
    }
}

impl connect::Connection for NodeStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

#[async_trait]
impl Link for EventStream {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Line>) -> Result<Keeper, UpstreamError> {
        let mut events = self.open().await.map_err(UpstreamError::Unavailable)?;
        let endpoint = events.endpoint(&self.url).await.map_err(UpstreamError::Unavailable)?;
        tokio::spawn(write(self.client.clone(), endpoint, lines, Arc::clone(connection)));
        tokio::spawn(read(events, Arc::clone(connection)));
        let connection = Arc::clone(connection);
        Ok(Box::pin(async move { connection.ended().await }))
    }
}

impl EventStream {
    /// One whose stream is at `url`, to which `dialer` makes the connections. None is made yet.
    pub(crate) fn new(url: Uri, dialer: Dialer) -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(Connector(dialer));
        Self { url, client }
    }

    async fn open(&self) -> Result<Events, String> {
        let request =
            Request::get(&self.url).header(header::ACCEPT, EVENT_STREAM).header(header::CACHE_CONTROL, "no-store");
        let request = request.body(Full::default()).map_err(|error| error.to_string())?;
        let response =
            self.client.request(request).await.map_err(|error| format!("no connection: {}", cause(&error)))?;
        if response.status() != StatusCode::OK || !is_event_stream(response.headers()) {
            return Err(format!("no stream of events: it answered {}", response.status()));
        }
        Ok(Events { body: response.into_body(), splitter: EventSplitter::new(MESSAGE_BYTES_MAX), first: Vec::new() })
    }
}

/// The innermost reason, which says most.
fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), cause)
}

/// The stream of a connection.
struct Events {
    body: Incoming,
    splitter: EventSplitter,
    /// What came with the address.
    first: Vec<Bytes>,
}

impl Events {
    /// The data of the next events; an error when there will be none.
    async fn next(&mut self) -> Result<Vec<Bytes>, String> {
        if !self.first.is_empty() {
            return Ok(std::mem::take(&mut self.first));
        }
        let frame = self.body.frame().await.ok_or("the stream ended")?.map_err(|error| error.to_string())?;
        let Ok(chunk) = frame.into_data() else { return Ok(Vec::new()) };
        self.splitter.data(chunk).map_err(|error| error.to_string())
    }

    /// Waits for the address to which messages are posted.
    async fn endpoint(&mut self, stream: &Uri) -> Result<Uri, String> {
        loop {
            let mut events = self.next().await?;
            if events.is_empty() {
                continue;
            }
            self.first = events.split_off(1);
            return events.pop().map_or_else(|| Err("no address".into()), |data| resolve(stream, &data));
        }
    }
}

/// The address in the first event, which may be relative to the stream's.
fn resolve(stream: &Uri, data: &[u8]) -> Result<Uri, String> {
    let text = std::str::from_utf8(data).map_err(|_| "its first event is no address")?;
    let base = Url::parse(&stream.to_string()).map_err(|error| error.to_string())?;
    let endpoint = base.join(text.trim()).map_err(|_| "its first event is no address")?;
    if endpoint.origin() != base.origin() {
        return Err("its first event names another host".into());
    }
    endpoint.as_str().parse().map_err(|_| "its first event is no address".into())
}

/// Reads messages until the stream or the connection ends, and ends the connection.
async fn read(mut events: Events, connection: Arc<Connection>) {
    let mut inlet = Inlet::new(&connection);
    let why = loop {
        tokio::select! {
            biased;
            () = connection.ended() => return,
            next = events.next() => match next {
                Ok(messages) => messages.into_iter().for_each(|message| inlet.take(message)),
                Err(why) => break why,
            },
        }
    };
    tracing::debug!(session = connection.hint(), why, "the node's stream ended");
    connection.end();
}

/// Posts `lines`, one after the other, until the connection ends.
async fn write(client: HttpClient, endpoint: Uri, mut lines: Receiver<Line>, connection: Arc<Connection>) {
    let mut inlet = Inlet::new(&connection);
    loop {
        let line = tokio::select! {
            biased;
            () = connection.ended() => return,
            line = lines.recv() => line,
        };
        let Some(Line { text: line, .. }) = line else { return };
        let posted = tokio::select! {
            biased;
            posted = timeout(POST_TIMEOUT, post(&client, &endpoint, line.clone())) => {
                posted.unwrap_or_else(|_| Err(format!("no answer within {POST_TIMEOUT:?}")))
            }
            () = connection.ended() => return,
        };
        match posted {
            Ok(status) if status.is_success() => {}
            // What the node has forgotten does not come back.
            Ok(StatusCode::NOT_FOUND | StatusCode::GONE) => return connection.end(),
            Ok(status) => inlet.take(unserved(&line, &format!("the node answered {status}"))),
            Err(error) => {
                tracing::debug!(session = connection.hint(), error, "a message could not be posted");
                return connection.end();
            }
        }
    }
}

/// How long the node may take to take a message. What it answers to it comes on the stream.
const POST_TIMEOUT: Duration = Duration::from_secs(30);

async fn post(client: &HttpClient, endpoint: &Uri, line: Bytes) -> Result<StatusCode, String> {
    let request = Request::post(endpoint).header(header::CONTENT_TYPE, "application/json").body(Full::new(line));
    let request = request.map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| cause(&error))?;
    let status = response.status();
    // Read to its end, so that the connection serves the next one.
    let rest = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
    drop(rest.collect().await);
    Ok(status)
}

/// What is read of the answer to a message that was posted: nothing in it matters.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// In place of the answer to `line`, which the node did not take; empty if it wants none.
fn unserved(line: &[u8], why: &str) -> Bytes {
    match serde_json::from_slice(line) {
        Ok(Asked { id: Some(id), method: Some(_) }) => {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32603,"message":"{why}"}}}}"#).into()
        }
        Ok(_) | Err(_) => Bytes::new(),
    }
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_for_messages_may_be_relative_but_not_elsewhere() {
        let stream = Uri::from_static("http://127.0.0.1:3001/mcp/sse");
        let resolved = |data: &str| resolve(&stream, data.as_bytes()).map(|uri| uri.to_string());
        for (data, address) in [
            ("/messages?sessionId=1", "http://127.0.0.1:3001/messages?sessionId=1"),
            ("messages/", "http://127.0.0.1:3001/mcp/messages/"),
            ("http://127.0.0.1:3001/m", "http://127.0.0.1:3001/m"),
        ] {
            assert_eq!(resolved(data).as_deref(), Ok(address));
        }
        for data in ["http://127.0.0.1:3002/m", "//evil.example/m", "https://127.0.0.1:3001/m", "file:///m"] {
            assert!(resolved(data).unwrap_err().contains("another host"), "{data}");
        }
        assert!(resolve(&stream, b"\xff").is_err());
    }

    #[test]
    fn only_a_request_gets_an_answer_in_the_nodes_place() {
        let answer = unserved(br#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#, "no");
        assert_eq!(answer, &br#"{"jsonrpc":"2.0","id":"a","error":{"code":-32603,"message":"no"}}"#[..]);
        assert!(unserved(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, "no").is_empty());
        assert!(unserved(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "no").is_empty());
    }
}
