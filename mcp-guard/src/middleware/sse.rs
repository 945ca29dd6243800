//! Server-sent events, cut where one ends and the next begins (WHATWG HTML, section 9.2.6).

use bytes::{Bytes, BytesMut};
use thiserror::Error;

/// An event longer than the guard holds.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("an event is longer than {bytes_max} bytes")]
pub struct EventTooLarge {
    bytes_max: usize,
}

/// Cuts a stream of bytes into whole events.
///
/// What is pushed comes out again byte for byte, but only up to the last event that is whole. Chunks that end
/// with an event, as nearly all do, are not copied.
#[derive(Debug, Default)]
pub struct EventSplitter {
    held: BytesMut,
    bytes_max: usize,
    /// Whether an event has come.
    has_begun: bool,
}

/// The beginning of a stream without the mark that a client does not read (UTF-8's own).
pub fn without_mark(beginning: &[u8]) -> &[u8] {
    beginning.strip_prefix("\u{feff}".as_bytes()).unwrap_or(beginning)
}

impl EventSplitter {
    /// A splitter that holds at most `bytes_max` bytes of an unfinished event.
    pub fn new(bytes_max: usize) -> Self {
        Self { held: BytesMut::new(), bytes_max, has_begun: false }
    }

    /// Takes `chunk`, shows `watch` the data of each event that is now whole, and gives back those events.
    ///
    /// What `watch` returns replaces the event's data; its other fields stay.
    ///
    /// # Errors
    ///
    /// [`EventTooLarge`] when an unfinished event outgrows the bound; the stream cannot go on then.
    pub fn push(
        &mut self,
        chunk: Bytes,
        mut watch: impl FnMut(&[u8]) -> Option<Bytes>,
    ) -> Result<Bytes, EventTooLarge> {
        let whole = self.take_whole(chunk)?;
        let mut rewritten: Option<BytesMut> = None;
        let mut start = 0;
        while let Some(length) = whole.get(start..).and_then(event_length) {
            let mut event = whole.get(start..start + length).unwrap_or_default();
            if !std::mem::replace(&mut self.has_begun, true) {
                event = without_mark(event);
            }
            let replacement = data(event).and_then(|data| watch(&data));
            match (&mut rewritten, &replacement) {
                (None, None) => {}
                (None, Some(data)) => {
                    let mut out = BytesMut::from(whole.get(..start).unwrap_or_default());
                    write_event(&mut out, event, data);
                    rewritten = Some(out);
                }
                (Some(out), Some(data)) => write_event(out, event, data),
                (Some(out), None) => out.extend_from_slice(event),
            }
            start += length;
        }
        Ok(rewritten.map_or(whole, BytesMut::freeze))
    }

    /// Takes `chunk`, and gives back the data of each event that is now whole.
    ///
    /// # Errors
    ///
    /// As [`EventSplitter::push`].
    pub fn data(&mut self, chunk: Bytes) -> Result<Vec<Bytes>, EventTooLarge> {
        let mut events = Vec::new();
        let keep = |data: &[u8]| {
            events.push(Bytes::copy_from_slice(data));
            None
        };
        self.push(chunk, keep)?;
        Ok(events)
    }

    /// What was held back of an event that never ended.
    pub fn rest(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// The bytes up to the end of the last whole event; the rest is held.
    fn take_whole(&mut self, mut chunk: Bytes) -> Result<Bytes, EventTooLarge> {
        let whole = if self.held.is_empty() {
            let rest = chunk.split_off(last_event_end(&chunk, 0));
            self.held.extend_from_slice(&rest);
            chunk
        } else {
            // An event's end may straddle the chunks, so the search goes back as far as a blank line is long.
            let seam = self.held.len().saturating_sub(3);
            self.held.extend_from_slice(&chunk);
            let end = last_event_end(&self.held, seam);
            self.held.split_to(end).freeze()
        };
        if self.held.len() > self.bytes_max {
            return Err(EventTooLarge { bytes_max: self.bytes_max });
        }
        Ok(whole)
    }
}

/// Where the last whole event of `bytes` ends, behind its last blank line; 0 if none ends after `floor`.
fn last_event_end(bytes: &[u8], floor: usize) -> usize {
    let ends = |end: &usize| ends_with_blank_line(bytes.get(..*end).unwrap_or_default());
    (floor..=bytes.len()).rev().find(ends).unwrap_or(0)
}

/// Whether the last line is empty and ends. Lines of one stream may end in different ways.
fn ends_with_blank_line(bytes: &[u8]) -> bool {
    let before =
        bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n")).or_else(|| bytes.strip_suffix(b"\r"));
    before.is_some_and(|before| matches!(before.last(), None | Some(b'\n' | b'\r')))
}

/// The whole events in `bytes`, one after the other, each with the blank line that ends it.
pub fn split_events(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (event, rest) = bytes.split_at_checked(event_length(bytes)?)?;
        bytes = rest;
        Some(event)
    })
}

/// The length of the first event of `bytes` with its blank line, if it is whole.
fn event_length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    loop {
        let line = line_length(bytes.get(length..)?)?;
        length += line.with_end;
        if line.text == 0 {
            return Some(length);
        }
    }
}

struct Line {
    text: usize,
    with_end: usize,
}

/// The length of the first line of `bytes`, which ends with LF, CR LF or CR.
fn line_length(bytes: &[u8]) -> Option<Line> {
    let text = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'))?;
    let is_pair = bytes.get(text..text + 2) == Some(b"\r\n");
    Some(Line { text, with_end: text + if is_pair { 2 } else { 1 } })
}

/// The lines of an event, without their ends.
fn lines(mut event: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let line = line_length(event)?;
        let (text, rest) = (event.get(..line.text)?, event.get(line.with_end..)?);
        event = rest;
        Some(text)
    })
}

/// The value of a `data` line.
fn data_value(line: &[u8]) -> Option<&[u8]> {
    let value = line.strip_prefix(b"data")?;
    match value.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        None if value.is_empty() => Some(value),
        None => None,
    }
}

/// The data of an event: its `data` lines, joined. `None` if it has none or only empty ones.
fn data(event: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    let mut values = lines(event).filter_map(data_value);
    let first = values.next()?;
    let mut joined = std::borrow::Cow::Borrowed(first);
    for value in values {
        let owned = joined.to_mut();
        owned.push(b'\n');
        owned.extend_from_slice(value);
    }
    Some(joined).filter(|data| !data.is_empty())
}

fn write_event(out: &mut BytesMut, event: &[u8], data: &[u8]) {
    for line in lines(event).filter(|line| !line.is_empty() && data_value(line).is_none()) {
        out.extend_from_slice(line);
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(chunks: &[&[u8]]) -> (Vec<u8>, Vec<String>) {
        let (mut out, mut seen) = (Vec::new(), Vec::new());
        let mut splitter = EventSplitter::new(1 << 20);
        for chunk in chunks {
            let bytes = splitter
                .push(Bytes::copy_from_slice(chunk), |data| {
                    seen.push(String::from_utf8_lossy(data).into_owned());
                    None
                })
                .unwrap();
            out.extend_from_slice(&bytes);
        }
        out.extend_from_slice(&splitter.rest());
        (out, seen)
    }

    #[test]
    fn events_are_seen_whole_whatever_ends_their_lines() {
        for text in [
            "data: a\n\ndata: b\ndata: c\n\n",
            "data:a\r\n\r\ndata:b\r\ndata:c\r\n\r\n",
            "data: a\r\rdata: b\rdata: c\r\r",
        ] {
            assert_eq!(split(&[text.as_bytes()]).1, ["a", "b\nc"], "{text:?}");
        }
    }

    #[test]
    fn an_event_is_held_back_until_it_is_whole() {
        let mut splitter = EventSplitter::new(100);
        assert!(splitter.push(Bytes::from_static(b"id: 1\nda"), |_| None).unwrap().is_empty());
        assert_eq!(splitter.push(Bytes::from_static(b"ta: x\n\nid"), |_| None).unwrap(), "id: 1\ndata: x\n\n");
        assert_eq!(splitter.rest(), "id");
    }

    /// A blank line used to count only if its end was that of the line before, so that such an event was held until another
    /// came, and at the end of the stream was passed on unseen.
    #[test]
    fn an_event_is_whole_whatever_its_blank_line_ends_with() {
        let ends = ["\n", "\r\n", "\r"];
        for (end, blank) in ends.iter().flat_map(|end| ends.map(|blank| (end, blank))) {
            // Together these are one line's end.
            if (*end, blank) == ("\r", "\n") {
                continue;
            }
            let event = format!("data: a{end}{blank}");
            let mut splitter = EventSplitter::new(100);
            assert_eq!(splitter.data(Bytes::from(event.clone())), Ok(vec![Bytes::from_static(b"a")]), "{event:?}");
            assert!(splitter.rest().is_empty(), "{event:?}");
        }
    }

    #[test]
    fn a_byte_order_mark_before_the_first_event_hides_nothing() {
        let mut splitter = EventSplitter::new(100);
        let text = "\u{feff}data: a\n\n\u{feff}data: b\n\ndata: c\n\n";
        assert_eq!(splitter.data(Bytes::from_static(text.as_bytes())).unwrap(), ["a", "c"]);
    }

    #[test]
    fn replaced_data_keeps_the_other_fields() {
        let mut splitter = EventSplitter::new(100);
        let out = splitter
            .push(Bytes::from_static(b"data: z\n\nid: 1\nevent: message\ndata: x\n\n"), |data| {
                (data == b"x").then(|| Bytes::from_static(b"y"))
            })
            .unwrap();
        assert_eq!(out, "data: z\n\nid: 1\nevent: message\ndata: y\n\n");
    }

    #[test]
    fn an_event_that_never_ends_is_an_error() {
        let mut splitter = EventSplitter::new(4);
        assert!(splitter.push(Bytes::from_static(b"data: long"), |_| None).is_err());
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(chunks in proptest::collection::vec("[a:d \r\n]{0,12}", 0..8)) {
            let chunks: Vec<&[u8]> = chunks.iter().map(String::as_bytes).collect();
            prop_assert_eq!(split(&chunks).0, chunks.concat());
        }
    }
}
