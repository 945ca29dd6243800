//! What two processes say to each other about sessions: JSON lines on a Unix socket.
//!
//! ```text
//! {"ask":"ID"}                             have you this session?
//! {"given":{"id":"ID","moved":MOVED}}      the answer; null if not
//! {"left":MOVED}                           this one goes on there, if anybody asks for it
//! ```

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_guard::session::SessionId;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex as Turn, oneshot};
use tokio::time::timeout;

use crate::upstream::sessions::Record;

/// A session that goes over.
#[derive(Deserialize, Serialize)]
pub(super) struct Moved {
    /// Among which sessions it is kept.
    pub(super) of: String,
    pub(super) record: Record,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    Ask(String),
    Given { id: String, moved: Option<Moved> },
    Left(Moved),
}

/// The other process.
pub(super) struct Link {
    writer: Turn<BufWriter<OwnedWriteHalf>>,
    /// One asks at a time.
    turn: Turn<()>,
    asked: Mutex<Option<(String, oneshot::Sender<Option<Moved>>)>>,
}

/// What it says.
pub(super) struct Incoming(BufReader<OwnedReadHalf>);

/// How long the other may take to answer: it has nothing to wait for.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// All that a session may have said, [`SUBSCRIPTIONS_MAX`](mcp_guard::session::SUBSCRIPTIONS_MAX) times
/// [`REQUEST_BYTES_MAX`](mcp_guard::session::REQUEST_BYTES_MAX), with what is escaped in it.
const LINE_BYTES_MAX: u64 = 64 << 20;

impl Link {
    pub(super) fn over(stream: UnixStream) -> (Arc<Self>, Incoming) {
        let (reader, writer) = stream.into_split();
        let link = Self { writer: Turn::new(BufWriter::new(writer)), turn: Turn::default(), asked: Mutex::default() };
        (Arc::new(link), Incoming(BufReader::new(reader)))
    }

    /// Asks for a session.
    pub(super) async fn ask(&self, id: SessionId) -> Option<Moved> {
        let _turn = self.turn.lock().await;
        let (sender, answer) = oneshot::channel();
        *self.asked() = Some((id.to_string(), sender));
        self.send([Message::Ask(id.to_string())]).await.ok()?;
        timeout(ANSWERED_WITHIN, answer).await.ok()?.ok()?
    }

    /// Answers who has asked. One that is gone needs no answer.
    pub(super) async fn answer(&self, id: String, moved: Option<Moved>) {
        let _ = self.send([Message::Given { id, moved }]).await;
    }

    /// Passes an answer to who has asked; gives it back if he does not wait for it any more.
    pub(super) fn given(&self, id: &str, moved: Option<Moved>) -> Option<Moved> {
        match self.asked().take_if(|(asked, _)| asked == id) {
            Some((_, sender)) => sender.send(moved).err().flatten(),
            None => moved,
        }
    }

    /// Says which sessions go on at the other end, and that this was all.
    pub(super) async fn leave(&self, rest: Vec<Moved>) -> io::Result<()> {
        self.send(rest.into_iter().map(Message::Left)).await?;
        self.writer.lock().await.shutdown().await
    }

    async fn send(&self, messages: impl IntoIterator<Item = Message>) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        for message in messages {
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            writer.write_all(&line).await?;
        }
        writer.flush().await
    }

    fn asked(&self) -> MutexGuard<'_, Option<(String, oneshot::Sender<Option<Moved>>)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Incoming {
    /// The next message; `None` behind the last.
    pub(super) async fn next(&mut self) -> Option<Message> {
        let mut line = Vec::new();
        let read = (&mut self.0).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await;
        // What is no message is of no version of the guard: nothing that comes behind it can be relied on.
        read.ok().filter(|bytes| *bytes > 0).and_then(|_| serde_json::from_slice(&line).ok())
    }
}
