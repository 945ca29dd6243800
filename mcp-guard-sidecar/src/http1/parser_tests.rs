//! Heads of answers, and bodies, on their own.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[test]
fn the_seeds_of_the_fuzz_target_are_read_well() {
    crate::fuzz_seeds::for_each("http1", fuzz_check::check);
}

#[test]
fn an_interim_answer_is_passed_over() {
    let mut unread =
        Bytes::from("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let head = response(&mut unread).unwrap().unwrap();
    assert_eq!((head.response.status().as_u16(), head.framing, head.is_kept), (200, Framing::Length(2), true));
    assert_eq!(unread, "{}");
}

#[test]
fn an_answer_is_delimited_as_the_rfc_says() {
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", Framing::Length(2), true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n", Framing::Chunked, true),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 2\r\n", Framing::Chunked, false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n", Framing::Length(2), false),
        ("HTTP/1.1 200 OK\r\n", Framing::UntilClose, false),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 9\r\n", Framing::Length(0), true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n", Framing::Length(2), false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n", Framing::Length(2), false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n", Framing::Length(2), true),
    ];
    for (head, framing, is_kept) in cases {
        let read = response(&mut Bytes::from(format!("{head}\r\n"))).unwrap().unwrap();
        assert_eq!((read.framing, read.is_kept), (framing, is_kept), "{head}");
    }
    for head in [
        "HTTP/1.1 101 Switching Protocols\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n",
        "HTTP/2 200\r\n",
        "ICY 200 OK\r\n",
    ] {
        assert!(response(&mut Bytes::from(format!("{head}\r\n"))).is_err(), "{head}");
    }
}

/// All of a body that comes in `pieces`.
fn decoded(framing: Framing, pieces: &[&[u8]]) -> Result<(Vec<u8>, Bytes), Http1Error> {
    let (mut decoder, mut unread, mut body) = (Decoder::new(framing), Bytes::new(), Vec::new());
    for piece in pieces {
        unread = [&unread, *piece].concat().into();
        while let Some(part) = decoder.next(&mut unread)? {
            body.extend_from_slice(&part);
        }
    }
    assert!(decoder.is_at_end(), "{decoder:?}");
    Ok((body, unread))
}

proptest! {
    #[test]
    fn chunks_are_read_as_they_were_written_however_they_come(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        place in any::<prop::sample::Index>(),
        follows in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut written = Vec::new();
        for part in &parts {
            written.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            written.extend_from_slice(part);
            written.extend_from_slice(b"\r\n");
        }
        written.extend_from_slice(b"0\r\n\r\n");
        written.extend_from_slice(&follows);
        let (start, end) = written.split_at(place.index(written.len()));
        let (body, rest) = decoded(Framing::Chunked, &[start, end]).unwrap();
        prop_assert_eq!(body, parts.concat());
        prop_assert_eq!(&rest[..], &follows[..]);
    }
}
