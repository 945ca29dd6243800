//! The way to another process: whom this one asks, and what it is told.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_guard::session::SessionId;
use tokio::io::{AsyncWriteExt, BufReader, BufWriter};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex as Turn, oneshot};

use super::message::{Message, Moved};

/// The other process.
pub(super) struct Link {
    writer: Turn<BufWriter<OwnedWriteHalf>>,
    /// Who waits for the answer about which session; `None` when there are no answers any more.
    asking: Mutex<Option<HashMap<String, Vec<oneshot::Sender<()>>>>>,
}

/// What it says.
pub(super) struct Incoming(BufReader<OwnedReadHalf>);

impl Link {
    pub(super) fn over(stream: UnixStream) -> (Arc<Self>, Incoming) {
        let (reader, writer) = stream.into_split();
        let link = Self { writer: Turn::new(BufWriter::new(writer)), asking: Mutex::new(Some(HashMap::new())) };
        (Arc::new(link), Incoming(BufReader::new(reader)))
    }

    /// Says whether there are sessions here.
    pub(super) async fn offer(&self, are_some: bool) -> io::Result<()> {
        self.send([Message::Offer(are_some)]).await
    }

    /// Asks for a session, and waits until that was answered, or cannot be any more.
    pub(super) async fn ask(&self, id: SessionId) {
        let (sender, answered) = oneshot::channel();
        let id = id.to_string();
        match self.asking().as_mut() {
            Some(asking) => asking.entry(id.clone()).or_default().push(sender),
            None => return,
        }
        // One that reads no more may have said much that is not read here yet.
        let _ = self.send([Message::Ask(id)]).await;
        let _ = answered.await;
    }

    /// Answers who has asked. One that is gone needs no answer.
    pub(super) async fn answer(&self, id: String, moved: Option<Moved>) {
        let _ = self.send([Message::Given { id, moved }]).await;
    }

    /// Wakes all who have asked for this session.
    pub(super) fn given(&self, id: &str) {
        drop(self.asking().as_mut().and_then(|asking| asking.remove(id)));
    }

    /// The other is gone: nobody waits for it any more.
    pub(super) fn nobody_answers(&self) {
        *self.asking() = None;
    }

    /// Says that a session is over. One that is gone need not know.
    pub(super) async fn ended(&self, id: SessionId) {
        let _ = self.send([Message::Ended(id.to_string())]).await;
    }

    /// Says which sessions go on at the other end, and for how long, and that this was all.
    pub(super) async fn leave(&self, rest: Vec<(Duration, Moved)>) -> io::Result<()> {
        self.send(rest.into_iter().map(|(idle, moved)| Message::Left { seconds: idle.as_secs(), moved })).await?;
        self.writer.lock().await.shutdown().await
    }

    async fn send(&self, messages: impl IntoIterator<Item = Message>) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        for message in messages {
            writer.write_all(&message.line()?).await?;
        }
        writer.flush().await
    }

    fn asking(&self) -> MutexGuard<'_, Option<HashMap<String, Vec<oneshot::Sender<()>>>>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Incoming {
    /// The next message; `None` behind the last.
    pub(super) async fn next(&mut self) -> Option<Message> {
        Message::read(&mut self.0).await
    }
}
