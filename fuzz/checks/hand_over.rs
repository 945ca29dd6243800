//! What one process says of its sessions another understands; what else it may be told is no message.

use bytes::Bytes;
use http::HeaderName;
use mcp_guard::call::Method;
use mcp_guard::session::{Memory, SessionId};
use serde_json::{Value, json};
use tokio::io::BufReader;

use super::message::{Message, Moved};
use crate::pieces::{Pieces, done};
use crate::upstream::sessions::Record;

/// Methods of which a session's memory knows, and some of which it does not, as clients may write them.
const METHODS: [&str; 8] = [
    "initialize",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
    r"logging\/setLevel",
    r"resources\/subscribe",
    r"initial\u0069ze",
    "tools/call",
];

/// Reads what follows the first two bytes of `data` as what another process says, and says what a session of which that was
/// said would be known by.
pub(crate) fn check(data: &[u8]) {
    let Some((lengths, bytes)) = data.split_first_chunk::<2>() else { return };
    let whole = read(bytes, &[]);
    assert_eq!(read(bytes, lengths), whole);
    // What was understood is understood again.
    let again: Vec<u8> = whole.iter().flat_map(|value| format!("{value}\n").into_bytes()).collect();
    assert_eq!(read(&again, lengths), whole);
    hand_over(bytes, lengths);
}

/// What is said, up to what is no message.
fn read(bytes: &[u8], lengths: &[u8]) -> Vec<Value> {
    let mut source = BufReader::with_capacity(64, Pieces::of(bytes, lengths));
    let mut read = Vec::new();
    while let Some(message) = done(Message::read(&mut source)) {
        look(&message);
        let line = message.line().expect("a message is a line");
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        read.push(serde_json::from_slice(&line).expect("a line is JSON"));
    }
    read
}

/// Looks at all that is told of a session.
fn look(message: &Message) {
    let (Message::Given { moved: Some(moved), .. } | Message::Left { moved, .. }) = message else { return };
    let record = &moved.record;
    if let (Some(id), Some(memory)) = (record.id(), record.memory()) {
        assert!(memory.initialize().is_some());
        let again = Record::new(id, record.subject(), &record.credentials(), &memory).expect("it can be taken over");
        assert!(same(&again.memory().expect("it still can"), &memory));
    }
}

fn same(one: &Memory, other: &Memory) -> bool {
    one.initialize() == other.initialize() && one.state().eq(other.state())
}

/// Takes each three bytes as a request that a node has granted, and gives the session away.
fn hand_over(bytes: &[u8], lengths: &[u8]) {
    let mut memory = Memory::default();
    for triple in bytes.chunks_exact(3).take(64) {
        let &[method, uri, odd] = triple else { continue };
        let written = METHODS[usize::from(method) % METHODS.len()];
        let uri = json!(format!("{uri}{}", char::from(odd)));
        let params = if odd == 0 { "null".into() } else { format!(r#"{{"uri":{uri}, "level":"debug"}}"#) };
        let line = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{written}","params":{params}}}"#));
        let method: String = serde_json::from_str(&format!("\"{written}\"")).expect("a string");
        memory.note(&Method::new(&method), (odd != 0).then_some(&*params), &line);
    }
    let (id, subject) = (SessionId::from_bits(bytes.len() as u128), std::str::from_utf8(bytes).ok());
    let credentials = [HeaderName::from_static("x-api-key")];
    let record = Record::new(id, subject, &credentials, &memory);
    assert_eq!(record.is_some(), memory.initialize().is_some());
    let Some(record) = record else { return };
    let line = Message::Left { seconds: u64::MAX, moved: Moved { of: "".into(), record } }.line().expect("a line");
    let mut source = BufReader::new(Pieces::of(&line, lengths));
    let Some(Message::Left { moved: Moved { record, .. }, .. }) = done(Message::read(&mut source)) else {
        panic!("it is understood otherwise");
    };
    assert_eq!((record.id(), record.subject(), record.credentials()), (Some(id), subject, credentials.to_vec()));
    assert!(same(&record.memory().expect("a node can take it over"), &memory), "nothing is forgotten");
}
