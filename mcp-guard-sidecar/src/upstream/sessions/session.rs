//! One session: a conversation, and the way to its node, which may change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mcp_guard::call::Call;
use mcp_guard::middleware::UpstreamError;
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::session::{AskError, Conversation, End, FromNode, Memory, Outlet, Profile, SessionId};
use tokio::time::timeout;

use http::HeaderName;
use http::request::Parts;

use super::connection::Handle;
use super::line::{Came, Line};
use super::outbox::{Outbox, Start};
use super::waiting::Waiting;
use crate::told::Told;
use crate::upstream::patience::timed_out;

/// A session. Its calls may come on any runtime, and it may have one connection after the other.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    profile: Profile,
    /// Who opened it, where that is known.
    subject: Option<Box<str>>,
    conversation: Mutex<Conversation<Outbox>>,
    memory: Mutex<Memory>,
    /// Those who wait for answers of a node that is gone, until it is known what becomes of the session.
    orphans: Mutex<Vec<Outbox>>,
    standing: Told<Standing>,
    /// Whether a request of the client's was answered since that was asked last.
    has_answered: AtomicBool,
    /// Whether the process that takes this one's place has it too.
    is_given: AtomicBool,
    /// What the client's last request said of itself, where the link wants to know.
    last_head: Mutex<Option<Arc<Parts>>>,
    /// The kinds of credentials that were needed to open it.
    credentials: OnceLock<Vec<HeaderName>>,
}

/// Whether messages can reach a node.
#[derive(Debug)]
enum Standing {
    /// There is none, yet or for now.
    Detached,
    /// This is the way.
    Attached(Handle),
    /// No more.
    Over,
}

impl Standing {
    /// The way to the node, or why there will be none, once that is known.
    fn settled(&self) -> Option<Result<Handle, UpstreamError>> {
        match self {
            Self::Attached(handle) => Some(Ok(handle.clone())),
            Self::Over => Some(Err(gone())),
            Self::Detached => None,
        }
    }

    fn handle(&self) -> Option<&Handle> {
        match self {
            Self::Attached(handle) => Some(handle),
            Self::Detached | Self::Over => None,
        }
    }
}

/// A request of the client's, before it is sent.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) id: &'a str,
    pub(super) progress_token: Option<&'a str>,
    /// Whether its answer may be a stream that carries other messages too.
    pub(super) is_carrier: bool,
}

impl Session {
    /// A session that `subject` opened. It has no connection yet.
    pub(super) fn new(id: SessionId, profile: Profile, subject: Option<Box<str>>) -> Arc<Self> {
        Arc::new(Self {
            id,
            profile,
            subject,
            conversation: Mutex::default(),
            memory: Mutex::default(),
            orphans: Mutex::default(),
            standing: Told::new(Standing::Detached),
            has_answered: AtomicBool::new(false),
            is_given: AtomicBool::new(false),
            last_head: Mutex::default(),
            credentials: OnceLock::new(),
        })
    }

    /// Whether whoever sent `call` opened it. Nobody else is served, whatever id he has got hold of.
    pub(super) fn is_of(&self, call: &Call) -> bool {
        self.subject == call.subject
    }

    pub(super) fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The kinds of credentials that were needed to open it.
    pub(super) fn credentials(&self) -> &[HeaderName] {
        self.credentials.get().map_or(&[], Vec::as_slice)
    }

    /// Notes how it was opened.
    pub(super) fn set_credentials(&self, credentials: Vec<HeaderName>) {
        // It is opened once.
        let _ = self.credentials.set(credentials);
    }

    /// Notes that another process has it too, which may be the one that takes this one's place.
    pub(super) fn give(&self, is_successor: bool) {
        self.is_given.fetch_or(is_successor, Ordering::Relaxed);
    }

    /// Whether the process that takes this one's place has it too.
    pub(super) fn is_given(&self) -> bool {
        self.is_given.load(Ordering::Relaxed)
    }

    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    /// What the log calls it.
    pub(crate) fn hint(&self) -> String {
        self.id.hint()
    }

    /// Ends it: whoever waits is told, and its connection is closed.
    pub(super) fn end(&self) {
        let before = self.converse(|conversation| {
            conversation.end();
            self.standing.set(Standing::Over)
        });
        if let Standing::Attached(handle) = before {
            handle.end();
        }
        self.settle(&End::Broken);
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.standing.see(|standing| matches!(standing, Standing::Over))
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) {
        self.standing.until(|standing| matches!(standing, Standing::Over)).await;
    }

    /// Sends messages over this connection from now on, unless the session or the connection has ended.
    pub(super) fn attach(&self, handle: &Handle) -> bool {
        self.converse(|_| {
            self.standing.set_if(|standing| {
                let is_free = matches!(standing, Standing::Detached) && !handle.is_over();
                if is_free {
                    *standing = Standing::Attached(handle.clone());
                }
                is_free
            })
        })
    }

    /// Its connection with this number is gone. Those who wait for answers wait on, until [`Session::settle`].
    pub(super) fn lose(&self, number: u64) {
        let orphans = self.converse(|conversation| {
            self.standing.set_if(|standing| {
                let is_this = matches!(standing, Standing::Attached(handle) if handle.number == number);
                if is_this {
                    *standing = Standing::Detached;
                }
                is_this
            });
            conversation.disconnect()
        });
        lock(&self.orphans).extend(orphans);
    }

    /// Tells those who waited for answers of a node that is gone how their waiting ends.
    pub(super) fn settle(&self, end: &End) {
        let orphans = std::mem::take(&mut *lock(&self.orphans));
        orphans.iter().for_each(|orphan| orphan.finish(end.clone()));
    }

    /// Whether a request of the client's was answered since this was asked last.
    pub(super) fn has_answered_since(&self) -> bool {
        self.has_answered.swap(false, Ordering::Relaxed)
    }

    pub(super) fn last_head(&self) -> Option<Arc<Parts>> {
        lock(&self.last_head).clone()
    }

    /// Notes how the session was opened.
    pub(super) fn opened_by(&self, came: &Came) {
        self.set_credentials(came.credentials().collect());
        *lock(&self.last_head) = Some(Arc::clone(&came.head));
    }

    /// Whether a message comes with the kinds of credentials with which the session was opened. Whether they are good, the
    /// node says; but not all messages come before it, and who has none may know no more than the session's id.
    pub(super) fn admits(&self, came: &Came) -> bool {
        let has_all = self.credentials().iter().all(|name| came.head.headers.contains_key(name));
        if has_all {
            *lock(&self.last_head) = Some(Arc::clone(&came.head));
        }
        has_all
    }

    /// What another node would have to be told.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    /// The way to the node, once there is one.
    async fn attached(&self) -> Result<Handle, UpstreamError> {
        if let Some(handle) = self.standing.see(Standing::settled) {
            return handle;
        }
        timeout(PATIENCE, self.standing.wait_for(Standing::settled)).await.unwrap_or_else(|_| Err(nobody_yet()))
    }

    /// Takes a message of the node.
    pub(super) fn receive(&self, message: &FromNode<'_>, line: Bytes) {
        let Some(line) = self.profile.from_node(message, line) else { return };
        let replies = self.converse(|conversation| conversation.receive(message, line));
        self.reply(replies);
    }

    /// Sends a request and waits until its answer begins.
    pub(super) async fn ask(
        self: &Arc<Self>,
        asking: Asking<'_>,
        line: Line,
        limit: Duration,
    ) -> Result<(Waiting, Start), UpstreamError> {
        let mut is_sent = false;
        let exchange = timeout(limit, async {
            loop {
                let handle = self.attached().await?;
                // A node that is gone by now is nobody to ask, and the next one is waited for.
                if let Some(waiting) = self.note(asking, Some(handle.number))? {
                    let ticket = waiting.ticket();
                    let started = self.exchange(waiting, &handle, line.clone(), &mut is_sent).await;
                    let is_lost = matches!(started, Ok((_, Start::End(End::Broken | End::Replaced))) | Err(_));
                    if is_lost && handle.is_unheard(ticket) {
                        // What was not run goes to the node that has taken the session over. It was waited for already.
                        is_sent = false;
                        if self.standing.see(Standing::settled).is_none() {
                            return Err(nobody_yet());
                        }
                        continue;
                    }
                    self.has_answered.fetch_or(!is_lost, Ordering::Relaxed);
                    return started;
                }
            }
        });
        match exchange.await {
            Ok(started) => started,
            Err(_) if is_sent => Err(timed_out(limit)),
            Err(_) => Err(UpstreamError::Unavailable("the node does not read".into())),
        }
    }

    /// The same over a connection that the session does not use yet, as long as that lasts.
    pub(super) async fn ask_first(
        self: &Arc<Self>,
        handle: &Handle,
        asking: Asking<'_>,
        line: Line,
        limit: Duration,
    ) -> Result<Start, UpstreamError> {
        let mut is_sent = false;
        let Some(waiting) = self.note(asking, None)? else { return Err(gone()) };
        let exchange = async {
            tokio::select! {
                biased;
                started = self.exchange(waiting, handle, line, &mut is_sent) => started.map(|(_, start)| start),
                () = handle.ended() => Ok(Start::End(End::Broken)),
            }
        };
        timeout(limit, exchange).await.unwrap_or_else(|_| Err(timed_out(limit)))
    }

    /// Notes that a request is about to be sent, over the connection with this number; `None` if that is gone.
    fn note(self: &Arc<Self>, asking: Asking<'_>, number: Option<u64>) -> Result<Option<Waiting>, UpstreamError> {
        let outbox = Outbox::default();
        let Asking { id, progress_token, is_carrier } = asking;
        let ticket = self.converse(|conversation| {
            // Under the lock under which it is lost: who is noted here is told when it is.
            let is_there = self.standing.see(|standing| match standing {
                Standing::Attached(handle) => number.is_none_or(|number| number == handle.number),
                Standing::Detached => number.is_none(),
                Standing::Over => true,
            });
            is_there.then(|| conversation.ask(id, progress_token, is_carrier, outbox.clone()))
        });
        let ticket = ticket.transpose().map_err(refused)?;
        Ok(ticket.map(|ticket| Waiting::new(self, ticket, outbox)))
    }

    async fn exchange(
        &self,
        mut waiting: Waiting,
        handle: &Handle,
        mut line: Line,
        is_sent: &mut bool,
    ) -> Result<(Waiting, Start), UpstreamError> {
        line.ticket = Some(waiting.ticket());
        if handle.lines.send(line).await.is_err() {
            return Err(UpstreamError::Unavailable("the node is gone".into()));
        }
        waiting.sent();
        *is_sent = true;
        let start = waiting.start().await;
        Ok((waiting, start))
    }

    /// Sends a notification or a response.
    pub(super) async fn tell(&self, line: Line, limit: Duration) -> Result<(), UpstreamError> {
        let told = timeout(limit, async {
            let handle = self.attached().await?;
            let sent = handle.lines.send(line).await;
            sent.map_err(|_| UpstreamError::Unavailable("the node is gone".into()))
        });
        told.await.unwrap_or_else(|_| Err(UpstreamError::Unavailable("the node does not read".into())))
    }

    /// Looks at the conversation, or changes it. `f` may not wait.
    pub(super) fn converse<T>(&self, f: impl FnOnce(&mut Conversation<Outbox>) -> T) -> T {
        f(&mut lock(&self.conversation))
    }

    /// Finds another way for what a response did not deliver.
    pub(super) fn reroute(&self, outbox: &Outbox) {
        let undelivered = outbox.close();
        if !undelivered.is_empty() {
            let replies = self.converse(|conversation| conversation.reroute(undelivered));
            self.reply(replies);
        }
    }

    /// Tells the node that it asked in vain. A node that does not read does not learn of it.
    fn reply(&self, replies: Vec<Bytes>) {
        if replies.is_empty() {
            return;
        }
        let handle = self.standing.see(|standing| standing.handle().cloned());
        for reply in replies {
            if handle.as_ref().is_none_or(|handle| handle.lines.try_send(reply.into()).is_err()) {
                tracing::debug!(session = self.hint(), "the node could not be told that it asked in vain");
            }
        }
    }
}

/// How long messages, and those who wait for answers, wait for another node when theirs is gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

fn nobody_yet() -> UpstreamError {
    UpstreamError::Unavailable("the session's node is gone, and no other is there yet".into())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(error: AskError) -> UpstreamError {
    match error {
        AskError::IdInFlight => refuse(Reason::InvalidRequest, error.to_string()),
        AskError::Full => refuse(Reason::QueueFull, error.to_string()),
        AskError::Over => gone(),
    }
}

/// The refusal of a session that there is not, or no longer.
pub(super) fn gone() -> UpstreamError {
    refuse(Reason::SessionNotFound, "it has ended, or never was: initialize anew")
}

pub(super) fn refuse(reason: Reason, detail: impl Into<String>) -> UpstreamError {
    UpstreamError::Refused(Box::new(Refusal::new(reason, detail)))
}
