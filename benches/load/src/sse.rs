//! Server-sent events, as they come in pieces.

/// Collects the data of events.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
}

/// An event or a line was longer than its bound.
#[derive(Debug)]
pub(crate) struct TooLong;

impl Events {
    /// Reads `piece` and gives the data of each event that ends in it to `see`. Lines may end in CR LF or LF.
    pub(crate) fn feed(&mut self, piece: &[u8], bytes_max: usize, mut see: impl FnMut(&[u8])) -> Result<(), TooLong> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let Some(end) = part.strip_suffix(b"\n") else {
                self.line.extend_from_slice(part);
                return if self.line.len() <= bytes_max { Ok(()) } else { Err(TooLong) };
            };
            if self.line.is_empty() {
                self.end_line(end, bytes_max, &mut see)?;
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(end);
                self.end_line(&line, bytes_max, &mut see)?;
                line.clear();
                self.line = line;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, line: &[u8], bytes_max: usize, see: &mut impl FnMut(&[u8])) -> Result<(), TooLong> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            if let Some(data) = self.data.strip_suffix(b"\n") {
                see(data);
            }
            self.data.clear();
        } else if let Some(value) = line.strip_prefix(b"data:") {
            self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            self.data.push(b'\n');
        }
        if self.data.len() <= bytes_max { Ok(()) } else { Err(TooLong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&str]) -> Vec<String> {
        let (mut events, mut seen) = (Events::default(), Vec::new());
        for piece in pieces {
            events.feed(piece.as_bytes(), 100, |data| seen.push(String::from_utf8(data.to_vec()).unwrap())).unwrap();
        }
        seen
    }

    #[test]
    fn an_event_may_come_in_any_pieces() {
        let text = ": hello\nevent: message\nid: 7\ndata: {\"a\":\r\ndata:1}\r\n\r\nretry: 3\n\ndata: b\n\n";
        let pieces: Vec<_> = text.split_inclusive(|_| true).collect();
        assert_eq!(events(&pieces), ["{\"a\":\n1}", "b"]);
        assert_eq!(events(&[text]), events(&pieces));
    }

    #[test]
    fn an_event_without_data_is_none() {
        assert_eq!(events(&["id: 1\nretry: 3000\n\n", "data:\n\n"]), [""]);
    }

    #[test]
    fn a_line_without_end_is_refused_at_its_bound() {
        let mut events = Events::default();
        assert!(events.feed(&[b'x'; 60], 100, |_| {}).is_ok());
        assert!(events.feed(&[b'x'; 60], 100, |_| {}).is_err());
    }
}
