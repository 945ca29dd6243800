use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;

use super::{
    ASKED_MAX, AskError, Conversation, End, FromNode, HELD_MESSAGES_MAX, LISTENERS_MAX, Message, Outlet, PENDING_MAX,
};

/// Remembers what it got; has room for `room` messages.
#[derive(Clone, Debug, Default)]
struct Inbox {
    got: Rc<RefCell<Vec<Bytes>>>,
    end: Rc<RefCell<Option<End>>>,
    room: usize,
}

impl Outlet for Inbox {
    fn offer(&self, message: Message) -> Result<(), Message> {
        if self.got.borrow().len() == self.room {
            return Err(message);
        }
        self.got.borrow_mut().push(message.line);
        Ok(())
    }

    fn finish(&self, end: End) {
        *self.end.borrow_mut() = Some(end);
    }
}

fn inbox() -> Inbox {
    Inbox { room: 1000, ..Inbox::default() }
}

impl Inbox {
    fn lines(&self) -> Vec<Bytes> {
        self.got.borrow().clone()
    }

    fn end(&self) -> Option<End> {
        self.end.borrow().clone()
    }
}

fn receive(conversation: &mut Conversation<Inbox>, line: &str) -> Vec<Bytes> {
    let line = Bytes::copy_from_slice(line.as_bytes());
    conversation.receive(&FromNode::read(&line).unwrap(), line.clone())
}

fn ask(conversation: &mut Conversation<Inbox>, id: &str) -> Inbox {
    let inbox = inbox();
    conversation.ask(id, None, true, inbox.clone()).unwrap();
    inbox
}

const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
const SAMPLING: &str = r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage","params":{}}"#;

#[test]
fn each_answer_goes_to_whoever_asked() {
    let mut conversation = Conversation::default();
    let (one, two) = (ask(&mut conversation, "1"), ask(&mut conversation, "\"1\""));
    receive(&mut conversation, r#"{"id":"1","result":2}"#);
    assert_eq!(two.end(), Some(End::Answered(r#"{"id":"1","result":2}"#.into())));
    assert_eq!(one.end(), None);
}

#[test]
fn a_conversation_is_busy_while_somebody_listens_or_waits_for_an_answer() {
    let mut conversation = Conversation::default();
    assert!(!conversation.is_busy());
    let ticket = conversation.ask("1", None, true, inbox()).unwrap();
    assert!(conversation.is_busy());
    conversation.abandon(&ticket);
    assert!(!conversation.is_busy(), "nobody hears the answer");
    let listener = conversation.listen(inbox()).unwrap();
    assert!(conversation.is_busy());
    conversation.unlisten(listener);
    assert!(!conversation.is_busy());
}

#[test]
fn a_node_may_spell_an_id_in_its_own_way() {
    let mut conversation = Conversation::default();
    let inbox = ask(&mut conversation, "\"é\"");
    receive(&mut conversation, r#"{"id":"\u00e9","result":2}"#);
    assert!(matches!(inbox.end(), Some(End::Answered(_))));
}

#[test]
fn an_id_in_flight_is_refused_until_it_is_answered_even_if_the_client_left() {
    let mut conversation = Conversation::default();
    let ticket = conversation.ask("1", None, true, inbox()).unwrap();
    conversation.abandon(&ticket);
    assert_eq!(conversation.ask("1", None, true, inbox()).unwrap_err(), AskError::IdInFlight);
    receive(&mut conversation, r#"{"id":1,"result":{}}"#);
    assert!(conversation.ask("1", None, true, inbox()).is_ok());
}

#[test]
fn a_request_that_was_not_sent_leaves_nothing_behind() {
    let mut conversation = Conversation::default();
    let ticket = conversation.ask("1", None, true, inbox()).unwrap();
    conversation.forget(&ticket);
    assert!(!conversation.is_busy());
    assert!(conversation.ask("1", None, true, inbox()).is_ok());
}

#[test]
fn an_old_ticket_does_not_touch_a_newer_request() {
    let mut conversation = Conversation::default();
    let old = conversation.ask("1", None, true, inbox()).unwrap();
    receive(&mut conversation, r#"{"id":1,"result":{}}"#);
    let newer = ask(&mut conversation, "1");
    conversation.abandon(&old);
    conversation.forget(&old);
    receive(&mut conversation, r#"{"id":1,"result":{}}"#);
    assert!(matches!(newer.end(), Some(End::Answered(_))));
}

#[test]
fn at_the_bound_only_requests_that_nobody_awaits_make_room() {
    let mut conversation = Conversation::default();
    let tickets: Vec<_> =
        (0..PENDING_MAX).map(|id| conversation.ask(&id.to_string(), None, true, inbox()).unwrap()).collect();
    assert_eq!(conversation.ask("\"x\"", None, true, inbox()).unwrap_err(), AskError::Full);
    conversation.abandon(&tickets[5]);
    assert!(conversation.ask("\"x\"", None, true, inbox()).is_ok());
}

#[test]
fn a_node_that_is_gone_leaves_those_who_wait_and_the_streams_but_nothing_that_it_asked() {
    let mut conversation = Conversation::default();
    receive(&mut conversation, CHANGED);
    receive(&mut conversation, SAMPLING);
    let waiting = inbox();
    conversation.ask("1", None, false, waiting.clone()).unwrap();
    let orphans = conversation.disconnect();
    assert_eq!((orphans.len(), waiting.end()), (1, None), "who waits is told by somebody else");
    assert!(!conversation.take_asked("9"));
    let stream = inbox();
    conversation.listen(stream.clone()).unwrap();
    assert_eq!(stream.lines(), [CHANGED]);
    // The id is free again, and the next node may ask as the first one did.
    conversation.ask("1", None, false, waiting).unwrap();
    receive(&mut conversation, SAMPLING);
    assert_eq!(stream.lines(), [CHANGED, SAMPLING]);
    assert!(conversation.take_asked("9"));
}

#[test]
fn progress_goes_to_whoever_gave_the_token() {
    let mut conversation = Conversation::default();
    let (caller, other) = (inbox(), ask(&mut conversation, "2"));
    conversation.ask("1", Some("\"t\""), true, caller.clone()).unwrap();
    let stream = inbox();
    conversation.listen(stream.clone()).unwrap();
    receive(&mut conversation, r#"{"method":"notifications/progress","params":{"progressToken":"t"}}"#);
    assert_eq!((caller.lines().len(), other.lines().len(), stream.lines().len()), (1, 0, 0));
}

#[test]
fn other_messages_go_to_the_newest_stream() {
    let mut conversation = Conversation::default();
    let (caller, older, newer) = (ask(&mut conversation, "1"), inbox(), inbox());
    conversation.listen(older.clone()).unwrap();
    conversation.listen(newer.clone()).unwrap();
    receive(&mut conversation, CHANGED);
    assert_eq!((caller.lines().len(), older.lines().len(), newer.lines().len()), (0, 0, 1));
}

#[test]
fn without_a_stream_they_go_to_a_request_in_flight() {
    let mut conversation = Conversation::default();
    let caller = ask(&mut conversation, "1");
    receive(&mut conversation, CHANGED);
    assert_eq!(caller.lines(), [CHANGED]);
}

#[test]
fn an_initialize_carries_nothing_else() {
    let mut conversation = Conversation::default();
    let caller = inbox();
    conversation.ask("1", None, false, caller.clone()).unwrap();
    receive(&mut conversation, CHANGED);
    assert!(caller.lines().is_empty());
    receive(&mut conversation, r#"{"id":1,"result":{}}"#);
    assert_eq!(ask(&mut conversation, "2").lines(), [CHANGED]);
}

#[test]
fn without_anyone_they_are_held_in_order_for_the_next_stream() {
    let mut conversation = Conversation::default();
    receive(&mut conversation, CHANGED);
    receive(&mut conversation, SAMPLING);
    let stream = inbox();
    conversation.listen(stream.clone()).unwrap();
    assert_eq!(stream.lines(), [CHANGED, SAMPLING]);
}

#[test]
fn what_is_held_is_bounded_and_notifications_go_first() {
    let mut conversation = Conversation::default();
    receive(&mut conversation, SAMPLING);
    for _ in 0..2 * HELD_MESSAGES_MAX {
        assert!(receive(&mut conversation, CHANGED).is_empty());
    }
    let stream = inbox();
    conversation.listen(stream.clone()).unwrap();
    assert_eq!(stream.lines().len(), HELD_MESSAGES_MAX);
    assert_eq!(stream.lines()[0], SAMPLING);
    assert_eq!(conversation.lost(), HELD_MESSAGES_MAX as u64 + 1);
}

#[test]
fn the_node_is_told_of_a_request_that_cannot_be_held() {
    let mut conversation = Conversation::default();
    let large = format!(r#"{{"id":9,"method":"roots/list","params":"{}"}}"#, "x".repeat(super::HELD_BYTES_MAX));
    let replies = receive(&mut conversation, &large);
    assert_eq!(replies.len(), 1);
    assert!(matches!(FromNode::read(&replies[0]), Some(FromNode::Response { id: "9", is_error: true })));
    assert!(!conversation.take_asked("9"));
}

#[test]
fn a_node_that_asks_too_much_gets_an_error() {
    let mut conversation = Conversation::default();
    conversation.listen(inbox()).unwrap();
    for id in 0..ASKED_MAX {
        assert!(receive(&mut conversation, &format!(r#"{{"id":{id},"method":"roots/list"}}"#)).is_empty());
    }
    assert_eq!(receive(&mut conversation, r#"{"id":999,"method":"roots/list"}"#).len(), 1);
}

#[test]
fn a_response_passes_only_once_and_only_if_it_was_asked_for() {
    let mut conversation = Conversation::default();
    conversation.listen(inbox()).unwrap();
    receive(&mut conversation, SAMPLING);
    assert!(!conversation.take_asked("8"));
    assert!(conversation.take_asked("9"));
    assert!(!conversation.take_asked("9"));
}

#[test]
fn a_request_that_the_node_takes_back_cannot_be_answered() {
    let mut conversation = Conversation::default();
    receive(&mut conversation, SAMPLING);
    receive(&mut conversation, r#"{"method":"notifications/cancelled","params":{"requestId":9}}"#);
    assert!(!conversation.take_asked("9"));
}

#[test]
fn a_stream_without_room_is_passed_by() {
    let mut conversation = Conversation::default();
    let (open, stuck) = (inbox(), Inbox::default());
    conversation.listen(open.clone()).unwrap();
    conversation.listen(stuck).unwrap();
    receive(&mut conversation, CHANGED);
    assert_eq!(open.lines(), [CHANGED]);
}

#[test]
fn what_a_gone_stream_did_not_deliver_finds_another_way() {
    let mut conversation = Conversation::default();
    let gone = conversation.listen(inbox()).unwrap();
    conversation.unlisten(gone);
    conversation.reroute([Message { line: SAMPLING.into(), id: Some("9".into()) }]);
    assert_eq!(ask(&mut conversation, "1").lines(), [SAMPLING]);
}

#[test]
fn the_oldest_stream_ends_when_there_are_too_many() {
    let mut conversation = Conversation::default();
    let streams: Vec<Inbox> = (0..=LISTENERS_MAX).map(|_| inbox()).collect();
    for stream in &streams {
        conversation.listen(stream.clone()).unwrap();
    }
    assert_eq!(streams[0].end(), Some(End::Closed));
    assert_eq!(streams[1].end(), None);
}

#[test]
fn a_cancelled_request_waits_no_longer_and_its_late_answer_is_dropped() {
    let mut conversation = Conversation::default();
    let caller = ask(&mut conversation, "1");
    conversation.cancel("1");
    assert_eq!(caller.end(), Some(End::Cancelled));
    assert!(!conversation.is_busy());
    receive(&mut conversation, r#"{"id":1,"result":{}}"#);
    assert_eq!(conversation.lost(), 1);
}

#[test]
fn at_the_end_everyone_is_told_and_nothing_more_is_asked() {
    let mut conversation = Conversation::default();
    let (caller, stream) = (ask(&mut conversation, "1"), inbox());
    conversation.listen(stream.clone()).unwrap();
    conversation.end();
    assert_eq!((caller.end(), stream.end()), (Some(End::Broken), Some(End::Closed)));
    assert_eq!(conversation.ask("2", None, true, inbox()).unwrap_err(), AskError::Over);
    assert!(conversation.listen(inbox()).is_none());
}
