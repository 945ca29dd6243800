//! Clients that speak WebSocket (RFC 6455), one session a socket, a message a text frame.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header};
use http_body_util::Full;
use mcp_guard::middleware::Handler;
use mcp_guard::refusal::{Reason, Refusal};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::{Bridge, Doors, channel, kept};
use crate::frames;
use crate::served::Served;

/// What a client said when it asked for a WebSocket, kept in the extensions of the answer to that.
#[derive(Clone, Debug)]
pub(crate) struct Handshake(HeaderMap);

/// The answer that turns a connection into a socket.
pub(super) fn accept(head: &Parts) -> Result<Response<Full<Bytes>>, Refusal> {
    let bad = |detail: &str| Refusal::new(Reason::InvalidHeader, detail);
    let has = |name: header::HeaderName, wanted: &str| {
        let values = head.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(wanted))
    };
    if head.method != Method::GET || head.version != Version::HTTP_11 {
        return Err(bad("WebSocket begins with a GET of HTTP/1.1"));
    }
    if !has(header::UPGRADE, "websocket") || !has(header::CONNECTION, "upgrade") {
        return Err(bad("WebSocket begins with `Connection: Upgrade` and `Upgrade: websocket`"));
    }
    if head.headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(bad("`Sec-WebSocket-Version` must be 13"));
    }
    let key = head.headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| bad("`Sec-WebSocket-Key` is missing"))?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
        .map_err(|_| bad("`Sec-WebSocket-Key` is not valid"))?;
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if has(header::SEC_WEBSOCKET_PROTOCOL, "mcp") {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mcp"));
    }
    response.extensions_mut().insert(Handshake(kept(&head.headers)));
    Ok(response)
}

/// Serves a client to its end, of which `unread` has come already.
pub(crate) async fn serve<H: Handler, S>(io: S, unread: Bytes, handshake: Handshake, doors: &Doors, served: Served<H>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let bounds = frames::bounds(doors.message_bytes_max);
    let socket = WebSocketStream::from_partially_read(io, unread.to_vec(), Role::Server, Some(bounds)).await;
    let (sink, stream) = socket.split();
    let (out, messages) = channel();
    let bridge = Bridge::new(served, &doors.path, handshake.0, out);
    let frames = unfold(stream, |mut stream| async move {
        let message = frames::next(&mut stream).await.ok()?;
        Some((message, stream))
    });
    let writing = async {
        let stuck = frames::write(sink, messages, std::future::pending(), false, doors.patience).await;
        if let Err(error) = stuck {
            tracing::debug!(error, "a client of WebSocket no longer reads");
        }
    };
    tokio::join!(bridge.serve(frames, false), writing);
}
