//! Lines: how messages are told apart on a byte stream.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// `message` without line ends, so that it is one line.
///
/// JSON has raw line ends only between its tokens, where a space means the same. A message without any, as most
/// are, is not copied.
pub fn one_line(message: Bytes) -> Bytes {
    if !message.contains(&b'\n') && !message.contains(&b'\r') {
        return message;
    }
    let line: Vec<u8> = message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
    line.into()
}

/// The messages of a line of the node: itself, or the members of a batch (2025-03-26).
pub fn messages(line: Bytes) -> Vec<Bytes> {
    if !line.trim_ascii_start().starts_with(b"[") {
        return vec![line];
    }
    let members = std::str::from_utf8(&line).ok().and_then(|text| {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        Vec::<&RawValue>::deserialize(&mut deserializer).ok()
    });
    match members {
        Some(members) => members.into_iter().map(|member| line.slice_ref(member.get().as_bytes())).collect(),
        None => vec![line],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pretty_printed_message_becomes_one_line_with_the_same_meaning() {
        let pretty = Bytes::from_static(b"{\r\n  \"a\": \"x\\ny\",\n  \"b\": [1,\n2]\n}\n");
        let line = one_line(pretty.clone());
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
        let [before, after] = [pretty, line].map(|text| serde_json::from_slice::<serde_json::Value>(&text).unwrap());
        assert_eq!(before, after);
    }

    #[test]
    fn a_line_is_not_copied() {
        let line = Bytes::from_static(b"{\"a\":1}");
        assert_eq!(one_line(line.clone()).as_ptr(), line.as_ptr());
    }

    #[test]
    fn a_batch_is_taken_apart_and_all_else_is_left() {
        let parts = messages(Bytes::from_static(b" [{\"a\":[1]}, {\"b\":2}]"));
        assert_eq!(parts, [&b"{\"a\":[1]}"[..], b"{\"b\":2}"]);
        for text in [&b"{\"a\":[]}"[..], b"[broken", b"hello", b""] {
            assert_eq!(messages(Bytes::from_static(text)), [text]);
        }
    }
}
