//! A link whose node is not at the other end of a stream: each request of the client's is a call of its own.

use std::convert::Infallible;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc::Receiver;

use super::connection::Connection;
use super::line::Line;
use crate::asked::Asked;

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
    fn listen(&self) -> impl Future<Output = Infallible> + Send;
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
}

/// Serves `lines` until the connection ends: requests beside each other, all else in its turn.
pub(crate) async fn serve(speaker: &impl Speaker, connection: &Connection, lines: Receiver<Line>) {
    tokio::select! {
        biased;
        () = connection.ended() => {}
        () = take(speaker, lines) => {}
        never = speaker.listen() => match never {},
    }
    connection.end();
}

async fn take(speaker: &impl Speaker, mut lines: Receiver<Line>) {
    let mut asked = Asked::default();
    loop {
        let line = tokio::select! {
            // A call that has always something to read leaves no turn for what comes behind it.
            biased;
            line = lines.recv() => line,
            () = asked.next() => continue,
        };
        let Some(line) = line else { return };
        let Ok(Envelope { id, method }) = serde_json::from_slice(&line.text) else { continue };
        match (id.map(|id| Box::<str>::from(id.get())), method) {
            (Some(id), Some(method)) => {
                let said = Said { id: id.clone(), method, line: line.clone() };
                asked.begin(Some(id), speaker.ask(said));
            }
            (_, method) => {
                if let Some(id) = asked.beside(speaker.tell(method.as_deref(), line.clone())).await {
                    asked.forget(&id);
                }
            }
        }
    }
}
