//! A bounded queue from a session to one HTTP response, on whatever runtime that is served.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use mcp_guard::session::{End, Message, Outlet};

/// Most messages that wait for a slow reader. At the bound they are offered elsewhere, or held, or lost.
const MESSAGES_MAX: usize = 256;

/// Most bytes that wait for a slow reader; one message may be larger.
const BYTES_MAX: usize = 1 << 20;

/// The queue. Clones are the same queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    bytes: usize,
    end: Option<End>,
    is_closed: bool,
    reader: Option<Waker>,
}

/// What comes first.
#[derive(Debug)]
pub(super) enum Start {
    Message,
    End(End),
}

/// What the reader gets.
#[derive(Debug)]
pub(super) enum Event {
    Message(Message),
    End(End),
}

impl Outbox {
    /// How the wait begins: with a message, which stays, or with the end already, which is taken.
    pub(super) fn poll_start(&self, cx: &mut Context<'_>) -> Poll<Start> {
        let mut state = self.lock();
        if !state.messages.is_empty() {
            return Poll::Ready(Start::Message);
        }
        if let Some(end) = state.end.take() {
            return Poll::Ready(Start::End(end));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next message, or how it ends: the latter once.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut state = self.lock();
        if let Some(message) = state.messages.pop_front() {
            state.bytes -= message.line.len();
            return Poll::Ready(Event::Message(message));
        }
        if let Some(end) = state.end.take() {
            return Poll::Ready(Event::End(end));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The reader is gone; what it did not read is given back.
    pub(super) fn close(&self) -> VecDeque<Message> {
        let mut state = self.lock();
        state.is_closed = true;
        state.reader = None;
        state.bytes = 0;
        std::mem::take(&mut state.messages)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet for Outbox {
    fn offer(&self, message: Message) -> Result<(), Message> {
        let mut state = self.lock();
        let is_full = state.messages.len() >= MESSAGES_MAX || state.bytes + message.line.len() > BYTES_MAX;
        if state.is_closed || state.end.is_some() || (is_full && !state.messages.is_empty()) {
            return Err(message);
        }
        state.bytes += message.line.len();
        state.messages.push_back(message);
        wake(state);
        Ok(())
    }

    fn finish(&self, end: End) {
        let mut state = self.lock();
        state.end = Some(end);
        wake(state);
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Message {
        Message { line: vec![b'x'; bytes].into(), id: None }
    }

    fn next(outbox: &Outbox) -> Poll<Event> {
        outbox.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn messages_come_in_order_and_the_end_last() {
        let outbox = Outbox::default();
        outbox.offer(message(1)).unwrap();
        outbox.offer(message(2)).unwrap();
        outbox.finish(End::Answered("x".into()));
        assert!(matches!(next(&outbox), Poll::Ready(Event::Message(first)) if first.line.len() == 1));
        assert!(matches!(next(&outbox), Poll::Ready(Event::Message(second)) if second.line.len() == 2));
        assert!(matches!(next(&outbox), Poll::Ready(Event::End(End::Answered(_)))));
        assert!(next(&outbox).is_pending());
    }

    #[test]
    fn a_reader_that_does_not_read_makes_nothing_grow() {
        let outbox = Outbox::default();
        for _ in 0..MESSAGES_MAX {
            outbox.offer(message(1)).unwrap();
        }
        assert!(outbox.offer(message(1)).is_err());
        let outbox = Outbox::default();
        outbox.offer(message(2 * BYTES_MAX)).unwrap();
        assert!(outbox.offer(message(1)).is_err());
    }

    #[test]
    fn a_gone_reader_gives_back_what_it_did_not_read_and_takes_no_more() {
        let outbox = Outbox::default();
        outbox.offer(message(1)).unwrap();
        assert_eq!(outbox.close().len(), 1);
        assert!(outbox.offer(message(1)).is_err());
    }
}
