//! Lines come out as they went in, whatever pieces they come in; none is longer than may be, and none is part of another.

use std::io::Write;

use mcp_guard::session::{messages, one_line};
use serde_json::Value;
use tokio::io::BufReader;

use crate::pieces::{Pieces, done};

/// What came of reading lines: those before the end, and whether that was one that is too long.
type Read<'a> = (Vec<&'a [u8]>, bool);

/// Takes two bytes as the lengths of pieces, one as that of the longest line, and what is behind as a stream of lines.
pub(crate) fn check(data: &[u8]) {
    let Some(([lengths @ .., longest], bytes)) = data.split_first_chunk::<3>() else { return };
    let bytes_max = usize::from(*longest);
    for lengths in [&[][..], lengths] {
        let (read, is_too_long) = lines(bytes, lengths, bytes_max);
        let read = read.iter().map(Vec::as_slice).collect();
        assert_eq!((read, is_too_long), expected(bytes, bytes_max), "lines of {bytes_max} bytes");
        // A line of nothing is none at all.
        let cut_at = bytes_max.max(1);
        assert_eq!(cut(bytes, lengths, cut_at), expected_cut(bytes, cut_at), "lines cut at {cut_at} bytes");
    }
    for line in expected(bytes, bytes.len()).0 {
        say(line);
    }
}

fn lines(bytes: &[u8], lengths: &[u8], bytes_max: usize) -> (Vec<Vec<u8>>, bool) {
    let mut source = BufReader::with_capacity(16, Pieces::of(bytes, lengths));
    let mut read = Vec::new();
    loop {
        match done(super::read_line(&mut source, bytes_max)) {
            Ok(Some(line)) => read.push(line),
            Ok(None) => return (read, false),
            Err(error) => {
                assert!(matches!(error, super::NoLine::TooLong(_)), "{error}");
                return (read, true);
            }
        }
    }
}

fn expected(bytes: &[u8], bytes_max: usize) -> Read<'_> {
    let mut lines = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        if line.len() > bytes_max {
            return (lines, true);
        }
        lines.push(line);
    }
    (lines, false)
}

fn cut(bytes: &[u8], lengths: &[u8], bytes_max: usize) -> Vec<Vec<u8>> {
    let mut source = BufReader::with_capacity(16, Pieces::of(bytes, lengths));
    let (mut read, mut line) = (Vec::new(), Vec::new());
    while done(super::read_cut_line(&mut source, bytes_max, &mut line)).expect("nothing breaks off") {
        read.push(line.clone());
    }
    read
}

fn expected_cut(bytes: &[u8], bytes_max: usize) -> Vec<Vec<u8>> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| line.get(..bytes_max).unwrap_or(line).to_vec()).collect()
}

/// Says `line` to somebody who reads lines: it is one line still, and means what it meant.
fn say(line: &[u8]) {
    let said = one_line(line.to_vec().into());
    assert!(!said.contains(&b'\n') && !said.contains(&b'\r') && said.len() == line.len());
    let meant = serde_json::from_slice::<Value>(&said).ok();
    let before = serde_json::from_slice::<Value>(line).ok();
    assert!(before.is_none() || before == meant);
    let parts = messages(said.clone());
    let Some(Value::Array(members)) = meant else {
        // One that is too deep or has numbers that are too large for a value may be apart too.
        assert!(parts == [said.clone()] || said.trim_ascii_start().starts_with(b"["));
        return;
    };
    let parts: Vec<Value> = parts.iter().map(|part| serde_json::from_slice(part).expect("a member")).collect();
    assert_eq!(parts, members);
    let mut lines = Vec::new();
    parts.iter().try_for_each(|part| writeln!(lines, "{part}")).expect("a vector takes all");
    assert_eq!(expected(&lines, lines.len()).0.len(), members.len());
}
