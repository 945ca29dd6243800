//! A message is read the same in one piece and in many, and where its body ends can be read in one way only.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};

use super::head::{request, response};
use super::{Decoder, Framing, Http1Error};

/// What was read of a message.
#[derive(Debug, Eq, PartialEq)]
struct Message {
    first_line: String,
    headers: Vec<(String, Vec<u8>)>,
    framing: Framing,
    is_kept: bool,
    body: Vec<u8>,
    is_whole: bool,
}

/// What became of reading.
type Read = Result<Option<(Message, Bytes)>, Http1Error>;

/// Reads what follows the first byte of `data` as a request and as an answer: whole, and in pieces as long as the first byte says.
pub(crate) fn check(data: &[u8]) {
    let Some((length, bytes)) = data.split_first() else { return };
    let pieces: Vec<&[u8]> = bytes.chunks(usize::from(*length).max(1)).collect();
    for read in [read_request, read_response] {
        match (read_all(&[bytes], read), read_all(&pieces, read)) {
            (Ok(whole), Ok(in_pieces)) => assert_eq!(whole, in_pieces),
            // What is wrong behind the message was not looked at yet.
            (Err(_), Err(_)) => {}
            (whole, in_pieces) => panic!("{whole:?} in one piece, {in_pieces:?} in many"),
        }
    }
}

/// A head out of what has come.
type ReadHead = fn(&mut Bytes) -> Result<Option<Message>, Http1Error>;

fn read_all(pieces: &[&[u8]], head: ReadHead) -> Read {
    let (mut unread, mut message, mut decoder) = (Bytes::new(), None::<Message>, None::<Decoder>);
    for piece in pieces {
        unread = [&unread, *piece].concat().into();
        if message.is_none() {
            message = head(&mut unread)?;
            decoder = message.as_ref().map(|message| Decoder::new(message.framing));
        }
        if let (Some(message), Some(decoder)) = (&mut message, &mut decoder) {
            while let Some(part) = decoder.next(&mut unread)? {
                assert!(!part.is_empty(), "a part has something in it");
                message.body.extend_from_slice(&part);
            }
            message.is_whole = decoder.is_at_end();
        }
    }
    Ok(message.map(|message| {
        if let (Framing::Length(length), true) = (message.framing, message.is_whole) {
            assert_eq!(message.body.len() as u64, length);
        }
        (message, unread)
    }))
}

fn read_request(unread: &mut Bytes) -> Result<Option<Message>, Http1Error> {
    let Some(head) = request(unread)? else { return Ok(None) };
    let (headers, request) = (head.request.headers(), &head.request);
    let (lengths, codings) = (count(headers, &CONTENT_LENGTH), count(headers, &TRANSFER_ENCODING));
    assert!(lengths + codings <= 1, "a request says once where its body ends");
    assert_eq!(head.framing == Framing::Chunked, codings == 1);
    let first_line = format!("{} {} {:?}", request.method(), request.uri(), request.version());
    Ok(Some(message(first_line, headers, head.framing, head.is_kept)))
}

fn read_response(unread: &mut Bytes) -> Result<Option<Message>, Http1Error> {
    let Some(head) = response(unread)? else { return Ok(None) };
    let headers = head.response.headers();
    assert!(!head.response.status().is_informational(), "interim answers are passed over");
    let is_doubtful = count(headers, &CONTENT_LENGTH) + count(headers, &TRANSFER_ENCODING) > 1;
    let has_body = head.framing != Framing::Length(0);
    assert!(!(is_doubtful && has_body && head.is_kept), "a connection that may be out of step is not used again");
    let first_line = format!("{:?} {}", head.response.version(), head.response.status());
    Ok(Some(message(first_line, headers, head.framing, head.is_kept)))
}

fn count(headers: &HeaderMap, name: &http::HeaderName) -> usize {
    headers.get_all(name).iter().count()
}

fn message(first_line: String, headers: &HeaderMap, framing: Framing, is_kept: bool) -> Message {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    Message { first_line, headers, framing, is_kept, body: Vec::new(), is_whole: false }
}
