//! As much of HTTP/1.1 as an answer needs: one of a length, or one in chunks, as JSON or as a stream of events. The guard answers
//! with a stream where a call takes longer than 2 s.

use serde_json::Value;

/// Where the head of the response in `bytes` ends, and the message in its body; `None` before it is whole.
pub(crate) fn whole(bytes: &[u8]) -> Result<Option<(usize, Vec<u8>)>, &'static str> {
    let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else { return Ok(None) };
    let head = bytes.get(..end).and_then(|head| str::from_utf8(head).ok()).ok_or("no head")?;
    let rest = bytes.get(end + 4..).unwrap_or_default();
    let body = match value(head, "content-length") {
        Some(length) => rest.get(..length.parse().map_err(|_| "no length")?).map(<[u8]>::to_vec),
        None if value(head, "transfer-encoding").is_some() => unchunked(rest)?,
        None if matches!(status(head), Some(202 | 204)) => Some(Vec::new()),
        None => return Err("no length"),
    };
    let is_stream = value(head, "content-type").is_some_and(|kind| kind.starts_with("text/event-stream"));
    Ok(body.map(|body| (end + 4, if is_stream { answer_in(&body) } else { body })))
}

/// The status in `head`.
pub(crate) fn status(head: &str) -> Option<u16> {
    head.split(' ').nth(1)?.parse().ok()
}

/// The value of the header `name` in `head`.
pub(crate) fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut values = head.lines().filter_map(|line| line.split_once(':'));
    values.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// What is in the chunks of `rest`; `None` before the last one is there.
fn unchunked(mut rest: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|end| end == b"\r\n") else { return Ok(None) };
        let line = rest.get(..end).and_then(|line| str::from_utf8(line).ok()).ok_or("no chunk")?;
        let digits = line.split(';').next().unwrap_or_default();
        let length = usize::from_str_radix(digits, 16).map_err(|_| "no chunk")?;
        let Some(chunk) = rest.get(end + 2..).and_then(|rest| rest.get(..length.checked_add(2)?)) else {
            return Ok(None);
        };
        if length == 0 {
            return Ok(Some(body));
        }
        body.extend_from_slice(chunk.get(..length).unwrap_or_default());
        rest = rest.get(end + 2 + length + 2..).unwrap_or_default();
    }
}

/// The first message in a stream of events that is no request and no notification; nothing if there is none.
fn answer_in(events: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(events);
    let data = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start);
    let mut messages = data.filter(|data| {
        serde_json::from_str::<Value>(data).is_ok_and(|message| message.is_object() && message.get("method").is_none())
    });
    messages.next().unwrap_or_default().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_its_head_says_and_one_without_a_length_is_none() {
        let body = |bytes: &[u8]| whole(bytes).map(|found| found.map(|(_, body)| body));
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), Ok(Some(b"{}".to_vec())));
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"), Ok(None));
        assert_eq!(body(b"HTTP/1.1 202 Accepted\r\n\r\n"), Ok(Some(Vec::new())));
        assert_eq!(body(b"HTTP/1.1 200 OK\r\n"), Ok(None));
        assert!(body(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }

    #[test]
    fn the_answer_of_a_stream_is_found_behind_what_only_begins_it() {
        let events = "id: 0\ndata: \n\ndata: {\"method\":\"x\"}\n\nid: 1\ndata: {\"id\":7}\n\n";
        let (first, second) = events.split_at(9);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let text = format!("{head}{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n", first.len(), second.len());
        assert_eq!(whole(text.as_bytes()), Ok(Some((head.len(), b"{\"id\":7}".to_vec()))));
        for end in 0..text.len() {
            assert_eq!(whole(&text.as_bytes()[..end]), Ok(None), "{end}");
        }
    }
}
