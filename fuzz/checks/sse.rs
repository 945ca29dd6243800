//! A stream of events says the same wherever its bytes are cut, is passed on as it came, and nothing of it is held for longer than it must be.

use bytes::Bytes;
use mcp_guard::middleware::{EventSplitter, split_events};

/// An event as a client reads it, by the rules of WHATWG HTML, section 9.2.6.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Event {
    kind: Vec<u8>,
    id: Vec<u8>,
    data: Vec<u8>,
}

/// What is put in the place of data. It is on one line, as all is that the guard puts there.
const INSTEAD: &[u8] = b"{\"instead\": 1}";

/// Takes one byte as half of the bound, two as the lengths of chunks, and the rest as a stream.
pub(crate) fn check(data: &[u8]) {
    let Some(([bound, lengths @ ..], stream)) = data.split_first_chunk::<3>() else { return };
    let bytes_max = usize::from(*bound) * 2;
    let read = clients_view(stream, true);
    let (seen, is_whole) = passed_on(stream, lengths, bytes_max);
    assert!(shown(&read).starts_with(&seen), "what is looked at is what a client reads");
    if is_whole {
        assert_eq!(seen, shown(&read), "in chunks of {lengths:?}");
        data_alone(stream, lengths, &seen);
    }
    replaced(stream, lengths);
    // One event after the other, with nothing between them.
    let events: Vec<&[u8]> = split_events(stream).collect();
    assert!(stream.starts_with(&events.concat()));
    let one_by_one = events.iter().enumerate().flat_map(|(at, event)| shown(&clients_view(event, at == 0)));
    assert_eq!(one_by_one.collect::<Vec<_>>(), shown(&read));
}

/// What the guard looks at. An event without data, or with nothing in it, carries no message: the guard passes it on unseen.
fn shown(events: &[Event]) -> Vec<Vec<u8>> {
    events.iter().filter(|event| !event.data.is_empty()).map(|event| event.data.clone()).collect()
}

fn chunks<'a>(mut stream: &'a [u8], lengths: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = lengths.iter().map(|length| usize::from(*length).max(1)).cycle();
    std::iter::from_fn(move || {
        let (chunk, rest) = stream.split_at(lengths.next()?.min(stream.len()));
        stream = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// Sends `stream` through, and returns what was looked at, and whether that was all: no event was too long.
fn passed_on(stream: &[u8], lengths: &[u8], bytes_max: usize) -> (Vec<Vec<u8>>, bool) {
    let (mut out, mut seen, mut taken) = (Vec::new(), Vec::new(), 0);
    let mut splitter = EventSplitter::new(bytes_max);
    for chunk in chunks(stream, lengths) {
        let watch = |data: &[u8]| {
            seen.push(data.to_vec());
            None
        };
        taken += chunk.len();
        let come = &stream[..taken];
        match splitter.push(Bytes::copy_from_slice(chunk), watch) {
            Ok(events) => out.extend_from_slice(&events),
            Err(_) => {
                assert!(come.len() - end_of_events(come) > bytes_max, "it would have fitted");
                return (seen, false);
            }
        }
        assert_eq!(out, come[..end_of_events(come)], "whole events are passed on at once, and nothing else is");
        assert!(come.len() - out.len() <= bytes_max, "no more is held than may be");
    }
    out.extend_from_slice(&splitter.rest());
    assert_eq!(out, stream, "nothing is added, and nothing lost");
    assert!(splitter.rest().is_empty());
    (seen, true)
}

fn data_alone(stream: &[u8], lengths: &[u8], seen: &[Vec<u8>]) {
    let mut splitter = EventSplitter::new(usize::MAX);
    let told = chunks(stream, lengths).flat_map(|chunk| splitter.data(Bytes::copy_from_slice(chunk)).expect("it fits"));
    assert_eq!(told.collect::<Vec<_>>(), seen);
}

/// Has some data replaced, and looks whether a client reads that in its place, and all else as it was.
fn replaced(stream: &[u8], lengths: &[u8]) {
    let is_replaced = |data: &[u8]| data.len().is_multiple_of(3);
    let mut splitter = EventSplitter::new(usize::MAX);
    let mut out = Vec::new();
    for chunk in chunks(stream, lengths) {
        let watch = |data: &[u8]| is_replaced(data).then(|| Bytes::from_static(INSTEAD));
        out.extend_from_slice(&splitter.push(Bytes::copy_from_slice(chunk), watch).expect("it fits"));
    }
    out.extend_from_slice(&splitter.rest());
    let mut expected = clients_view(stream, true);
    for event in &mut expected {
        if !event.data.is_empty() && is_replaced(&event.data) {
            event.data = INSTEAD.to_vec();
        }
    }
    assert_eq!(clients_view(&out, true), expected);
}

/// Where the last event ends that is whole: behind its blank line, with a line feed that follows a carriage return if it is there.
fn end_of_events(stream: &[u8]) -> usize {
    let (mut end, mut at, mut is_empty) = (0, 0, true);
    while let Some(byte) = stream.get(at) {
        let is_end = matches!(byte, b'\n' | b'\r');
        at += if stream[at..].starts_with(b"\r\n") { 2 } else { 1 };
        if is_end && is_empty {
            end = at;
        }
        is_empty = is_end;
    }
    end
}

/// The events that a client is given. At the beginning of a stream, a byte order mark says nothing.
fn clients_view(stream: &[u8], is_beginning: bool) -> Vec<Event> {
    let mark = "\u{feff}".as_bytes();
    let stream = if is_beginning { stream.strip_prefix(mark).unwrap_or(stream) } else { stream };
    let (mut events, mut event, mut has_data, mut line) = (Vec::new(), Event::default(), false, Vec::new());
    let mut bytes = stream.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if !matches!(byte, b'\n' | b'\r') {
            line.push(byte);
            continue;
        }
        if byte == b'\r' {
            bytes.next_if_eq(&b'\n');
        }
        let text = std::mem::take(&mut line);
        if text.is_empty() {
            // The last id stays for the events that follow.
            let next = Event { id: event.id.clone(), ..Event::default() };
            let ended = std::mem::replace(&mut event, next);
            if std::mem::take(&mut has_data) {
                events.push(ended);
            }
            continue;
        }
        let colon = text.iter().position(|byte| *byte == b':');
        let (name, value) = colon.map_or((&*text, &[][..]), |at| (&text[..at], &text[at + 1..]));
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"event" => event.kind = value.to_vec(),
            b"id" if !value.contains(&0) => event.id = value.to_vec(),
            b"data" => {
                if std::mem::replace(&mut has_data, true) {
                    event.data.push(b'\n');
                }
                event.data.extend_from_slice(value);
            }
            _ => {}
        }
    }
    events
}
