//! Nodes that speak WebSocket (RFC 6455), one socket for each [session](super::sessions), a message a text frame.
//!
//! The subprotocol `mcp` is offered, as the SDKs do; a node that knows none is called again without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, Uri, header};
use mcp_guard::middleware::{UpstreamError, clock};
use mcp_guard::session::Profile;
use tokio::sync::mpsc::Receiver;
use tokio::time::{interval_at, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::dial::{Dialer, NodeStream};
use super::sessions::{Connection, Inlet, Keeper, Link, MESSAGE_BYTES_MAX, SessionNode, SessionOptions};

/// A node at `url`, of the scheme `ws` or `wss`, to which `dialer` makes the connections. None is made yet.
pub fn node(url: Uri, dialer: Dialer, sessions: SessionOptions) -> SessionNode {
    let ends_messages = sessions.profile == Profile::Erlmcp;
    SessionNode::new(WebSocket { url, dialer, ends_messages, is_plain: AtomicBool::new(false) }, sessions)
}

#[derive(Debug)]
struct WebSocket {
    url: Uri,
    dialer: Dialer,
    /// Whether each message ends with a line feed, without which erlmcp waits for more.
    ends_messages: bool,
    /// Whether the node has shown that it knows no subprotocol.
    is_plain: AtomicBool,
}

#[async_trait]
impl Link for WebSocket {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Bytes>) -> Result<Keeper, UpstreamError> {
        let socket = self.open().await.map_err(|error| UpstreamError::Unavailable(format!("no WebSocket: {error}")))?;
        let (sink, stream) = socket.split();
        let writer = tokio::spawn(write(sink, lines, Arc::clone(connection), self.ends_messages));
        tokio::spawn(read(stream, Arc::clone(connection)));
        let connection = Arc::clone(connection);
        Ok(Box::pin(async move {
            connection.ended().await;
            // It says goodbye, within its time; a panic of its own has been told.
            let _ = writer.await;
        }))
    }
}

type Socket = WebSocketStream<NodeStream>;

impl WebSocket {
    async fn open(&self) -> Result<Socket, Error> {
        if !self.is_plain.load(Ordering::Relaxed) {
            match self.shake_hands(Some(HeaderValue::from_static("mcp"))).await {
                Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_))) => {}
                opened => return opened,
            }
        }
        let opened = self.shake_hands(None).await?;
        self.is_plain.store(true, Ordering::Relaxed);
        Ok(opened)
    }

    async fn shake_hands(&self, subprotocol: Option<HeaderValue>) -> Result<Socket, Error> {
        let mut request = self.url.clone().into_client_request()?;
        if let Some(subprotocol) = subprotocol {
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
        }
        let stream = self.dialer.dial().await?;
        let bounds = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let (socket, _) = client_async_with_config(request, stream, Some(bounds)).await?;
        Ok(socket)
    }
}

/// From one ping to the next.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long a node may send nothing, not even the answer to a ping.
const SILENCE_MAX: Duration = Duration::from_secs(75);

/// How long the last frame may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Sends `lines`, and a ping now and then, until the connection ends.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut lines: Receiver<Bytes>,
    connection: Arc<Connection>,
    ends_messages: bool,
) {
    let mut pings = interval_at((clock::now() + PING_INTERVAL).into(), PING_INTERVAL);
    loop {
        let message = tokio::select! {
            line = lines.recv() => line.and_then(|line| text(&line, ends_messages)),
            _ = pings.tick() => Some(Message::Ping(Bytes::new())),
            () = connection.ended() => None,
        };
        let Some(message) = message else { break };
        let sent = tokio::select! {
            sent = sink.send(message) => sent,
            () = connection.ended() => break,
        };
        if let Err(error) = sent {
            tracing::debug!(session = connection.hint(), %error, "the node no longer reads");
            // What it still says may be an answer, so what it sends decides when the connection ends.
            lines.close();
            return;
        }
    }
    // A node that does not take it sees the connection end.
    let _ = timeout(GOODBYE, sink.close()).await;
}

fn text(line: &Bytes, ends_messages: bool) -> Option<Message> {
    let mut text = std::str::from_utf8(line).ok()?.to_owned();
    if ends_messages {
        text.push('\n');
    }
    Some(Message::Text(Utf8Bytes::from(text)))
}

/// Reads messages until the socket or the connection ends, and ends the connection.
async fn read(stream: SplitStream<Socket>, connection: Arc<Connection>) {
    tokio::select! {
        why = read_messages(stream, &connection) => {
            tracing::debug!(session = connection.hint(), why, "the node's socket ended");
        }
        () = connection.ended() => {}
    }
    connection.end();
}

/// Reads messages until there will be none, and says why.
async fn read_messages(mut stream: SplitStream<Socket>, connection: &Arc<Connection>) -> String {
    let mut inlet = Inlet::new(connection);
    loop {
        match timeout(SILENCE_MAX, stream.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => inlet.take(text.into()),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
            Ok(Some(Ok(Message::Binary(_)))) => {
                tracing::warn!(session = connection.hint(), "the node sent a binary message");
                return CloseCode::Unsupported.to_string();
            }
            Ok(Some(Ok(Message::Close(_))) | None) => return "closed".into(),
            Ok(Some(Err(error))) => return error.to_string(),
            Err(_) => return format!("silent for {SILENCE_MAX:?}"),
        }
    }
}
