//! Keeps a session: lets one connection be served to its end, and finds it another.
//!
//! | the connection is lost                                | what happens                                              |
//! |-------------------------------------------------------|-----------------------------------------------------------|
//! | another is made and takes the session over            | waiting calls fail as [`UpstreamError::Replaced`]; whoever may, sends them again |
//! | that fails                                            | tried again for [`LASTS`], with growing, jittered waits   |
//! | that fails for longer than [`PATIENCE`]               | waiting calls fail as broken                              |
//! | not within that, or [`IN_VAIN_MAX`] times without an answer to the client in between | the session ends |
//! | before `initialize` was answered, or where it is not wanted | the session ends                                    |

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mcp_guard::middleware::{UpstreamError, clock};
use mcp_guard::retry::delay;
use mcp_guard::session::{End, FromNode};
use metrics::counter;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::connection::{Connection, Handle};
use super::line::Line;
use super::link::Keeper;
use super::open::Ending;
use super::outbox::Start;
use super::probe::INITIALIZED;
use super::service::{Health, Inner};
use super::session::{Asking, PATIENCE, Session};

/// How long a session waits for a node that takes it over.
const LASTS: Duration = Duration::from_secs(60);

/// The shortest wait behind a try that failed, and the longest: [`retry::delay`](mcp_guard::retry::delay).
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How often a session gets a new connection, one after the other, in which the client is not answered once: a client
/// whose own messages kill the node is not given nodes for ever.
const IN_VAIN_MAX: u32 = 5;

/// Why a session needs another connection.
#[derive(Clone, Copy)]
pub(super) enum Why {
    /// Its node is gone.
    Lost,
    /// It comes from another process, and has none yet.
    HandedOver,
}

impl Why {
    fn outcome(self) -> &'static str {
        match self {
            Self::Lost => "reinitialized",
            Self::HandedOver => "handed_over",
        }
    }
}

/// Makes a connection, in its time.
pub(super) async fn connect(
    inner: &Inner,
    connection: &Arc<Connection>,
    lines: Receiver<Line>,
) -> Result<Keeper, UpstreamError> {
    let limit = inner.options().connect_timeout;
    let connected = timeout(limit, inner.link.connect(connection, lines)).await;
    connected.unwrap_or_else(|_| Err(UpstreamError::Unavailable(format!("no connection within {limit:?}"))))
}

/// Runs until the session has ended and nothing of its connections is left. `why` is why it needs the next one.
pub(super) async fn keep(inner: Arc<Inner>, session: Arc<Session>, mut keeper: Keeper, ending: Ending, mut why: Why) {
    let (mut number, mut in_vain) = (0, 0);
    loop {
        keeper.await;
        let may_go_on = inner.options().fails_over && session.memory().initialize().is_some();
        if session.is_over() || !may_go_on {
            break;
        }
        in_vain = if session.has_answered_since() { 0 } else { in_vain + 1 };
        if in_vain > IN_VAIN_MAX {
            tracing::warn!(session = session.hint(), "its nodes end before they answer: the session ends");
            break;
        }
        match take_over(&inner, &session, &mut number, why).await {
            Some(next) => (keeper, why) = (next, Why::Lost),
            None => break,
        }
    }
    drop(ending);
}

/// Tries until a node has taken the session over.
async fn take_over(inner: &Inner, session: &Arc<Session>, number: &mut u64, why: Why) -> Option<Keeper> {
    let (lost, mut wait) = (clock::now(), WAIT_MIN);
    loop {
        *number += 1;
        let error = match attempt(inner, session, *number).await {
            Ok(keeper) => {
                inner.note(Health::Alive);
                session.settle(&End::Replaced);
                tracing::info!(session = session.hint(), "another node has taken the session over");
                counter!("mcp_guard_session_failovers_total", "outcome" => why.outcome()).increment(1);
                return Some(keeper);
            }
            Err(error) => error,
        };
        if session.is_over() {
            return None;
        }
        inner.note(Health::Failing);
        wait = delay(wait, WAIT_MIN, WAIT_MAX, fastrand::u64(..));
        let gone_for = clock::now().saturating_duration_since(lost) + wait;
        if gone_for > PATIENCE {
            session.settle(&End::Broken);
        }
        let is_last = gone_for > LASTS;
        tracing::debug!(session = session.hint(), why = %error, is_last, "no node has taken the session over");
        if is_last {
            counter!("mcp_guard_session_failovers_total", "outcome" => "given_up").increment(1);
            return None;
        }
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            () = session.ended() => return None,
        }
    }
}

/// Makes a connection, restores there what the session was, and lets it go on.
async fn attempt(inner: &Inner, session: &Arc<Session>, number: u64) -> Result<Keeper, UpstreamError> {
    let (connection, lines) = Connection::new(session, number);
    let keeper = tokio::select! {
        biased;
        connected = connect(inner, &connection, lines) => connected?,
        () = session.ended() => return Err(over()),
    };
    let restored = tokio::select! {
        biased;
        restored = restore(inner, session, connection.handle()) => restored,
        () = session.ended() => Err(over()),
    };
    let restored = restored.and_then(|()| session.attach(connection.handle()).then_some(()).ok_or_else(over));
    match restored {
        Ok(()) => Ok(keeper),
        Err(error) => {
            connection.end();
            keeper.await;
            Err(error)
        }
    }
}

fn over() -> UpstreamError {
    UpstreamError::Unavailable("the session has ended".into())
}

/// Says to the node what the client had said: `initialize`, its log level, its subscriptions.
async fn restore(inner: &Inner, session: &Arc<Session>, handle: &Handle) -> Result<(), UpstreamError> {
    let (initialize, state) = {
        let memory = session.memory();
        (memory.initialize().cloned().unwrap_or_default(), memory.state().cloned().collect::<Vec<_>>())
    };
    let limit = inner.options().start_timeout;
    if !is_granted(session, handle, initialize, limit).await? {
        return Err(UpstreamError::Unavailable("it refuses initialize".into()));
    }
    // A node that is gone by now is noticed by the next message.
    let _ = handle.lines.send(Bytes::from_static(INITIALIZED.as_bytes()).into()).await;
    for line in state {
        if !is_granted(session, handle, line, inner.options().first_byte).await? {
            tracing::warn!(session = session.hint(), "the new node refuses a log level or subscription of the session");
        }
    }
    Ok(())
}

/// Sends a request that another node has granted, and says whether this one does.
async fn is_granted(
    session: &Arc<Session>,
    handle: &Handle,
    line: Bytes,
    limit: Duration,
) -> Result<bool, UpstreamError> {
    let request = line.clone();
    let Some(FromNode::Request { id, .. }) = FromNode::read(&request) else { return Ok(false) };
    let asking = Asking { id, progress_token: None, is_carrier: false };
    match session.ask_first(handle, asking, line.into(), limit).await? {
        Start::End(End::Answered(answer)) => Ok(FromNode::is_result(&answer)),
        Start::End(End::Broken | End::Cancelled | End::Closed | End::Replaced) | Start::Message => {
            Err(UpstreamError::Unavailable("it ended before it answered".into()))
        }
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
