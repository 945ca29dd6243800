//! One stream: its source, the events that are kept, and who reads it.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use mcp_guard::middleware::{clock, split_events, without_mark};

/// Most events that are kept of a stream.
pub(super) const EVENTS_MAX: usize = 64;

/// Most bytes of them; the last event is kept whatever its length.
pub(super) const BYTES_MAX: usize = 256 << 10;

/// What is still to come of a stream: whole events in each piece.
pub(crate) type Source = Pin<Box<dyn futures_util::Stream<Item = Bytes> + Send>>;

/// A stream that can be resumed.
pub(super) struct Stream {
    pub(super) id: u64,
    /// Whether it answers a call, which goes on without its client.
    is_call: bool,
    state: Mutex<State>,
}

struct State {
    /// What is still to come; `None` at the end.
    source: Option<Source>,
    kept: VecDeque<(u64, Bytes)>,
    kept_bytes: usize,
    /// The last event that was read: what comes behind it has to stay.
    read: u64,
    /// The number of the next event.
    next: u64,
    /// Whether the node numbers its events itself; known from the first on.
    has_own_ids: Option<bool>,
    /// Whether nothing has come of what is still to come.
    is_fresh: bool,
    /// Who reads it; those before are told that they do no longer.
    reader: u64,
    waker: Option<Waker>,
    /// Since when it has no client, or has ended.
    idle_since: Option<Instant>,
}

impl Stream {
    pub(super) fn new(id: u64, is_call: bool, source: Source) -> Arc<Self> {
        let state = State {
            source: Some(source),
            kept: VecDeque::new(),
            kept_bytes: 0,
            read: 0,
            next: 1,
            has_own_ids: None,
            is_fresh: true,
            reader: 0,
            waker: None,
            idle_since: None,
        };
        Arc::new(Self { id, is_call, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when nobody reads it, or there is nothing more to read.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.lock().idle_since
    }

    /// Whether it answers a call, which goes on without its client. One that only listens does not: it goes on with what
    /// [`Stream::refill`] gives it.
    pub(super) fn is_call(&self) -> bool {
        self.is_call
    }

    /// Gives it what is to come from now on.
    pub(super) fn refill(&self, source: Source) {
        let before = {
            let mut state = self.lock();
            state.is_fresh = true;
            state.source.replace(source)
        };
        // Behind the lock, since it ends with it.
        drop(before);
    }

    /// A reader of what comes behind the event with this number; whoever reads it now does so no longer.
    pub(super) fn read(self: &Arc<Self>, behind: u64) -> Reader {
        let (reader, before) = {
            let mut state = self.lock();
            state.reader += 1;
            state.read = behind;
            if state.source.is_some() {
                state.idle_since = None;
            }
            (state.reader, state.waker.take())
        };
        if let Some(before) = before {
            before.wake();
        }
        Reader { stream: Arc::clone(self), number: reader, behind, is_client: true }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).finish_non_exhaustive()
    }
}

impl State {
    /// Keeps the events of a piece with their ids. What has no data, as a comment, is not kept.
    fn keep(&mut self, stream: u64, piece: &[u8]) {
        let piece = if std::mem::take(&mut self.is_fresh) { without_mark(piece) } else { piece };
        for event in split_events(piece) {
            let lines = || event.split(|byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty());
            let is_numbered = lines().any(is_id);
            if !is_numbered && !lines().any(|line| line.starts_with(b"data")) {
                continue;
            }
            if *self.has_own_ids.get_or_insert(is_numbered) {
                continue;
            }
            let mut numbered = BytesMut::with_capacity(event.len() + ID_BYTES_MAX);
            numbered.put_slice(format!("id: {}\n", id(stream, self.next)).as_bytes());
            // A stream that was primed has the guard's ids, whatever the node says later: of two the last would hold.
            for line in lines().filter(|line| !is_id(line)) {
                numbered.put_slice(line);
                numbered.put_u8(b'\n');
            }
            numbered.put_u8(b'\n');
            self.push(numbered.freeze());
        }
    }

    fn push(&mut self, event: Bytes) {
        self.kept_bytes += event.len();
        self.kept.push_back((self.next, event));
        self.next += 1;
        self.trim();
    }

    /// Lets go of what is more than may be kept, but for what its reader has still to read: no more comes before that.
    fn trim(&mut self) {
        let is_too_much = |state: &Self| state.kept.len() > EVENTS_MAX || state.kept_bytes > BYTES_MAX;
        while self.kept.len() > 1 && is_too_much(self) && self.kept.front().is_some_and(|(at, _)| *at <= self.read) {
            self.kept_bytes -= self.kept.pop_front().map_or(0, |(_, gone)| gone.len());
        }
    }

    fn behind(&self, number: u64) -> Option<(u64, Bytes)> {
        let at = self.kept.partition_point(|(kept, _)| *kept <= number);
        self.kept.get(at).cloned()
    }
}

/// Whether a line of an event is its id. A name without a colon is a field too, an empty one.
fn is_id(line: &[u8]) -> bool {
    line.strip_prefix(b"id").is_some_and(|value| matches!(value, [] | [b':', ..]))
}

/// About the bytes of an id and what is around it.
const ID_BYTES_MAX: usize = 48;

/// The id of an event of the guard's own.
fn id(stream: u64, event: u64) -> String {
    format!("guard-{stream:016x}-{event:x}")
}

/// The id of the stream with this number: the last bit says that it answers a call, also to who knows no more of it.
pub(super) fn numbered(number: u64, is_call: bool) -> u64 {
    number << 1 | u64::from(is_call)
}

/// Whether the stream with this id answers a call.
pub(super) fn answers_call(stream: u64) -> bool {
    stream & 1 == 1
}

/// The stream and the number that an id of the guard's own names.
pub(super) fn parse_id(id: &str) -> Option<(u64, u64)> {
    let (stream, event) = id.strip_prefix("guard-")?.split_once('-')?;
    Some((u64::from_str_radix(stream, 16).ok()?, u64::from_str_radix(event, 16).ok()?))
}

/// Whoever reads a stream: a client, or the guard itself to its end when a call's client is gone.
pub(crate) struct Reader {
    stream: Arc<Stream>,
    number: u64,
    behind: u64,
    is_client: bool,
}

impl Reader {
    /// The event that tells the client where to begin, before there is any other: it has nothing but its id.
    pub(crate) fn prime(&self) {
        let mut state = self.stream.lock();
        state.has_own_ids = Some(false);
        let event = format!("id: {}\ndata: \n\n", id(self.stream.id, state.next));
        state.push(event.into());
    }

    #[cfg(test)]
    pub(super) fn stream_id(&self) -> u64 {
        self.stream.id
    }

    /// The next events; `None` when there will be none for this reader.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.stream.lock();
        loop {
            if state.reader != self.number {
                return Poll::Ready(None);
            }
            if let Some((number, event)) = state.behind(self.behind) {
                self.behind = number;
                state.read = number;
                state.trim();
                return Poll::Ready(Some(event));
            }
            let Some(source) = &mut state.source else { return Poll::Ready(None) };
            match source.as_mut().poll_next(cx) {
                Poll::Ready(Some(piece)) => {
                    state.keep(self.stream.id, &piece);
                    if state.has_own_ids != Some(false) {
                        return Poll::Ready(Some(piece));
                    }
                }
                Poll::Ready(None) => {
                    state.source = None;
                    state.idle_since = Some(clock::now());
                }
                Poll::Pending => {
                    state.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads to the end, as a call goes on whose client is gone, unless that comes back.
    async fn drive(mut self) {
        self.is_client = false;
        while std::future::poll_fn(|cx| self.poll_next(cx)).await.is_some() {}
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if !self.is_client {
            return;
        }
        let (goes_on, ended) = {
            let mut state = self.stream.lock();
            if state.reader != self.number {
                return;
            }
            state.idle_since.get_or_insert_with(clock::now);
            // One that numbers its events itself is resumed by the node, or not.
            let goes_on = self.stream.is_call && state.has_own_ids != Some(true);
            // Nobody has still to read anything.
            state.read = u64::MAX;
            (goes_on && state.source.is_some(), if goes_on { None } else { state.source.take() })
        };
        drop(ended);
        // Where there is no runtime any more, nothing goes on.
        if goes_on && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let reader =
                Self { stream: Arc::clone(&self.stream), number: self.number, behind: u64::MAX, is_client: false };
            runtime.spawn(reader.drive());
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("stream", &self.stream).field("behind", &self.behind).finish_non_exhaustive()
    }
}
