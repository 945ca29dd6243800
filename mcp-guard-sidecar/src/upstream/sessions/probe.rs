//! Whether the node can serve at all: it is asked in a session of the guard's own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mcp_guard::session::End;

use super::open::{Opening, start, take_place};
use super::outbox::Start;
use super::service::{Health, Inner};
use super::session::Asking;

const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"#,
    r#""clientInfo":{"name":"mcp-guard","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}}"#
);
pub(super) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":{}}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}"#;

/// Opens a session, pings, and ends it. At the bound of sessions nothing new is learned.
pub(super) async fn probe(inner: &Arc<Inner>, known: Health) -> Health {
    let Ok(place) = take_place(inner) else { return known };
    let Ok(opening) = start(inner, place, None).await else { return Health::Failing };
    tokio::select! {
        biased;
        is_alive = answers_ping(inner, &opening) => if is_alive { Health::Alive } else { Health::Failing },
        // Dropping the opening closes the connection, which ending the sessions does not.
        () = inner.ends() => known,
    }
}

async fn answers_ping(inner: &Inner, opening: &Opening) -> bool {
    let limit = inner.options().start_timeout;
    if exchange(opening, "0", INITIALIZE, limit).await.is_none()
        || opening.handle.lines.send(Bytes::from_static(INITIALIZED.as_bytes()).into()).await.is_err()
    {
        return false;
    }
    exchange(opening, "1", PING, inner.options().ping_timeout)
        .await
        .is_some_and(|answer| inner.options().profile.is_alive(&answer))
}

async fn exchange(opening: &Opening, id: &str, message: &'static str, limit: Duration) -> Option<Bytes> {
    let asking = Asking { id, progress_token: None, is_carrier: false };
    match opening
        .session
        .ask_first(&opening.handle, asking, Bytes::from_static(message.as_bytes()).into(), limit)
        .await
        .ok()?
    {
        Start::End(End::Answered(line)) => Some(line),
        Start::End(End::Broken | End::Cancelled | End::Closed | End::Replaced) | Start::Message => None,
    }
}
