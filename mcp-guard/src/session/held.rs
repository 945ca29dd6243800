//! Messages of the node for which nobody listens yet.

use std::collections::VecDeque;

use super::outlet::Message;

/// Most messages that wait for a stream. At the bound the oldest notification goes, or else the oldest request.
pub const HELD_MESSAGES_MAX: usize = 100;

/// Most bytes of messages that wait for a stream. At the bound as with [`HELD_MESSAGES_MAX`].
pub const HELD_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Held {
    messages: VecDeque<Message>,
    bytes: usize,
}

impl Held {
    /// Keeps `message`, and gives back what had to go for it.
    pub(super) fn push(&mut self, message: Message) -> Vec<Message> {
        self.bytes += message.line.len();
        self.messages.push_back(message);
        let mut gone = Vec::new();
        while self.messages.len() > HELD_MESSAGES_MAX || self.bytes > HELD_BYTES_MAX {
            let oldest = self.messages.iter().position(|message| message.id.is_none()).unwrap_or(0);
            gone.extend(self.take(oldest));
        }
        gone
    }

    pub(super) fn pop(&mut self) -> Option<Message> {
        self.take(0)
    }

    pub(super) fn unpop(&mut self, message: Message) {
        self.bytes += message.line.len();
        self.messages.push_front(message);
    }

    /// Drops requests: nobody is left to hear what they are answered.
    pub(super) fn drop_requests(&mut self) {
        self.messages.retain(|message| message.id.is_none());
        self.bytes = self.messages.iter().map(|message| message.line.len()).sum();
    }

    fn take(&mut self, at: usize) -> Option<Message> {
        let message = self.messages.remove(at)?;
        self.bytes -= message.line.len();
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize, id: Option<&str>) -> Message {
        Message { line: vec![b'x'; bytes].into(), id: id.map(Into::into) }
    }

    #[test]
    fn at_the_bound_the_oldest_notification_goes_or_else_the_oldest_request() {
        let mut held = Held::default();
        assert!(held.push(message(1, Some("first"))).is_empty());
        assert!(held.push(message(2, None)).is_empty());
        for _ in 2..HELD_MESSAGES_MAX {
            assert!(held.push(message(3, Some("more"))).is_empty());
        }
        assert_eq!(held.push(message(4, Some("last"))), [message(2, None)]);
        assert_eq!(held.push(message(4, Some("last"))), [message(1, Some("first"))]);
    }

    #[test]
    fn bytes_are_bounded_and_counted_as_messages_come_and_go() {
        let (half, mut held) = (HELD_BYTES_MAX / 2, Held::default());
        assert!(held.push(message(half, None)).is_empty());
        assert!(held.push(message(half, Some("a"))).is_empty());
        let first = held.pop().unwrap();
        assert!(held.push(message(half, None)).is_empty(), "there is room again");
        held.unpop(first);
        assert_eq!(held.push(message(1, None)).len(), 2, "what came back counts");
        held.drop_requests();
        assert!(held.push(message(HELD_BYTES_MAX - 1, None)).is_empty(), "what was dropped does not");
        assert_eq!(held.push(message(1, None)).len(), 1);
    }
}
