//! Messages as text frames of WebSocket, to clients and to nodes.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use mcp_guard::middleware::clock;
use tokio::sync::mpsc::Receiver;
use tokio::time::{interval_at, timeout};
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// From one ping to the next.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long a peer may send nothing, not even the answer to a ping.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(75);

/// How long the last frame may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// Of messages, and of the frames that they come in.
pub(crate) fn bounds(bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(bytes_max)).max_frame_size(Some(bytes_max))
}

/// Sends `lines`, and a ping now and then, until there are no more or `ended`; then says goodbye. A peer may take
/// `patience` for each. With `ends_messages` each ends with a line feed.
///
/// # Errors
///
/// Why the peer takes no more.
pub(crate) async fn write(
    mut sink: impl Sink<Message, Error = Error> + Unpin,
    mut lines: Receiver<impl Into<Bytes>>,
    ended: impl Future<Output = ()>,
    ends_messages: bool,
    patience: Duration,
) -> Result<(), String> {
    let mut pings = interval_at((clock::now() + PING_INTERVAL).into(), PING_INTERVAL);
    let mut ended = std::pin::pin!(ended);
    loop {
        let message = tokio::select! {
            biased;
            _ = pings.tick() => Some(Message::Ping(Bytes::new())),
            line = lines.recv() => line.map(|line| text(&line.into(), ends_messages)),
            () = &mut ended => None,
        };
        let Some(message) = message else { break };
        tokio::select! {
            biased;
            sent = timeout(patience, sink.send(message)) => match sent {
                Ok(sent) => sent.map_err(|error| error.to_string())?,
                Err(_) => return Err(format!("takes nothing for {patience:?}")),
            },
            () = &mut ended => break,
        }
    }
    // A peer that does not take it sees the connection end.
    let _ = timeout(GOODBYE, sink.close()).await;
    Ok(())
}

/// What is no UTF-8 would end the socket of who gets it (RFC 6455, section 8.1), with all else that runs on it: it is
/// replaced, as who reads a stream of events does.
fn text(line: &Bytes, ends_messages: bool) -> Message {
    let mut text = String::from_utf8_lossy(line).into_owned();
    if ends_messages {
        text.push('\n');
    }
    Message::Text(Utf8Bytes::from(text))
}

/// The next message.
///
/// # Errors
///
/// Why there will be none.
pub(crate) async fn next(stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin)) -> Result<Bytes, String> {
    loop {
        match timeout(SILENCE_MAX, stream.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => return Ok(text.into()),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
            Ok(Some(Ok(Message::Binary(_)))) => return Err("a binary message".into()),
            Ok(Some(Ok(Message::Close(_))) | None) => return Err("closed".into()),
            Ok(Some(Err(error))) => return Err(error.to_string()),
            Err(_) => return Err(format!("silent for {SILENCE_MAX:?}")),
        }
    }
}

#[cfg(test)]
#[path = "../../fuzz/checks/web_socket.rs"]
mod fuzz_check;

#[cfg(test)]
mod tests {
    use super::fuzz_check;

    #[test]
    fn the_seeds_of_the_fuzz_target_are_read_well() {
        crate::fuzz_seeds::for_each("web_socket", fuzz_check::check);
    }
}
