//! Nodes that speak WebSocket (RFC 6455), one socket for each [session](super::sessions), a message a text frame.
//!
//! The subprotocol `mcp` is offered, as the SDKs do; a node that knows none is called again without.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::{SplitSink, SplitStream};
use http::{HeaderValue, Uri, header};
use mcp_guard::middleware::UpstreamError;
use mcp_guard::session::Profile;
use tokio::sync::mpsc::Receiver;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::dial::{Dialer, NodeStream};
use super::sessions::{Connection, Inlet, Keeper, Line, Link, MESSAGE_BYTES_MAX};
use crate::frames;

/// The way to a node that speaks WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    url: Uri,
    dialer: Dialer,
    /// Whether each message ends with a line feed, without which erlmcp waits for more.
    ends_messages: bool,
    /// Whether the node has shown that it knows no subprotocol.
    is_plain: AtomicBool,
}

#[async_trait]
impl Link for WebSocket {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Line>) -> Result<Keeper, UpstreamError> {
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
    /// One at `url`, of the scheme `ws` or `wss`, to which `dialer` makes the connections. None is made yet.
    pub(crate) fn new(url: Uri, dialer: Dialer, profile: Profile) -> Self {
        Self { url, dialer, ends_messages: profile == Profile::Erlmcp, is_plain: AtomicBool::new(false) }
    }

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
        let bounds = frames::bounds(MESSAGE_BYTES_MAX);
        let (socket, _) = client_async_with_config(request, stream, Some(bounds)).await?;
        Ok(socket)
    }
}

/// Sends `lines` until the connection ends.
async fn write(sink: SplitSink<Socket, Message>, lines: Receiver<Line>, connection: Arc<Connection>, ends: bool) {
    let ended = connection.ended();
    if let Err(error) = frames::write(sink, lines, ended, ends, frames::SILENCE_MAX).await {
        // What it still says may be an answer, so what it sends decides when the connection ends.
        tracing::debug!(session = connection.hint(), error, "the node no longer reads");
    }
}

/// Reads messages until the socket or the connection ends, and ends the connection.
async fn read(mut stream: SplitStream<Socket>, connection: Arc<Connection>) {
    let mut inlet = Inlet::new(&connection);
    let why = loop {
        tokio::select! {
            biased;
            () = connection.ended() => return,
            message = frames::next(&mut stream) => match message {
                Ok(message) => inlet.take(message),
                Err(why) => break why,
            },
        }
    };
    tracing::debug!(session = connection.hint(), why, "the node's socket ended");
    connection.end();
}
