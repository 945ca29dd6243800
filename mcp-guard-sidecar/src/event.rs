//! A message as a server-sent event.

use bytes::{BufMut, Bytes, BytesMut};

/// One event whose data is `line`, which has no line ends.
pub(crate) fn event(line: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(line.len() + EVENT_BYTES);
    event.put_slice(EVENT_START);
    event.put_slice(line);
    event.put_slice(EVENT_END);
    event.freeze()
}

const EVENT_START: &[u8] = b"event: message\ndata: ";
const EVENT_END: &[u8] = b"\n\n";
const EVENT_BYTES: usize = EVENT_START.len() + EVENT_END.len();
