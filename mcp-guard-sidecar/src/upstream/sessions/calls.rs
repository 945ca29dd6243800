//! A link whose node is not at the other end of a stream: each request of the client's is a call of its own.

use std::collections::HashMap;
use std::pin::pin;

use futures_util::future::{AbortHandle, Abortable, BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc::Receiver;

use super::connection::Connection;
use super::line::Line;

/// A request of the client's.
pub(crate) struct Said {
    /// Its id, as JSON text.
    pub(crate) id: Box<str>,
    pub(crate) method: String,
    /// The message.
    pub(crate) line: Line,
}

/// What speaks with the node.
pub(crate) trait Speaker: Sync {
    /// Has a request answered. Dropped, nobody waits for the answer any more.
    fn ask(&self, said: Said) -> impl Future<Output = ()> + Send;

    /// Takes a notification with this method, or a response without; gives the id of the request that need not be answered
    /// any more.
    fn tell(&self, method: Option<&str>, line: Line) -> impl Future<Output = Option<Box<str>>> + Send;

    /// Goes on beside, for ever.
    fn listen(&self) -> impl Future<Output = ()> + Send;
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
}

/// Serves `lines` until the connection ends: requests beside each other, all else in its turn.
pub(crate) async fn serve(speaker: &impl Speaker, connection: &Connection, mut lines: Receiver<Line>) {
    {
        let mut calls = FuturesUnordered::<Abortable<BoxFuture<'_, Box<str>>>>::new();
        let mut by_id = HashMap::<Box<str>, AbortHandle>::new();
        let mut listening = pin!(speaker.listen());
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                Some(ended) = calls.next() => {
                    if let Ok(id) = ended {
                        by_id.remove(&id);
                    }
                    continue;
                }
                () = &mut listening => continue,
                () = connection.ended() => break,
            };
            let Some(line) = line else { break };
            let Ok(Envelope { id, method }) = serde_json::from_slice(&line.text) else { continue };
            if let (Some(id), Some(method)) = (id, &method) {
                let id: Box<str> = id.get().into();
                let (handle, registration) = AbortHandle::new_pair();
                by_id.insert(id.clone(), handle);
                let said = Said { id: id.clone(), method: method.clone(), line: line.clone() };
                let asked = async move {
                    speaker.ask(said).await;
                    id
                };
                calls.push(Abortable::new(asked.boxed(), registration));
                continue;
            }
            let mut told = pin!(speaker.tell(method.as_deref(), line.clone()));
            let given_up = loop {
                tokio::select! {
                    given_up = &mut told => break given_up,
                    Some(ended) = calls.next() => {
                        if let Ok(id) = ended {
                            by_id.remove(&id);
                        }
                    }
                    () = connection.ended() => break None,
                }
            };
            if let Some(handle) = given_up.and_then(|id| by_id.remove(&id)) {
                handle.abort();
            }
        }
    }
    connection.end();
}
