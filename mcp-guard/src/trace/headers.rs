//! Trace context and request ids in HTTP headers.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::baggage::BaggageLimits;
use super::carried::Carried;
use super::meta::{Key, Outgoing};

/// The header of a request id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id of a caller's that is kept.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

const NAMES: [(Key, HeaderName); 3] = [
    (Key::TraceParent, HeaderName::from_static("traceparent")),
    (Key::TraceState, HeaderName::from_static("tracestate")),
    (Key::Baggage, HeaderName::from_static("baggage")),
];

/// What the headers say; `None` if they say nothing.
pub(super) fn read(headers: &HeaderMap, limits: BaggageLimits) -> Option<Carried> {
    NAMES
        .iter()
        .any(|(_, name)| headers.contains_key(name))
        .then(|| Carried::read(|key| combined(headers, key), limits))
}

/// A list may come in several headers; a parent may not.
fn combined(headers: &HeaderMap, key: Key) -> Option<Cow<'_, str>> {
    let mut values = headers.get_all(key.as_str()).iter().map(|value| value.to_str().unwrap_or_default());
    let first = values.next()?;
    Some(match (values.next(), key) {
        (None, _) => first.into(),
        (Some(_), Key::TraceParent) => "".into(),
        (Some(second), Key::TraceState | Key::Baggage) => {
            let mut all = format!("{first},{second}");
            values.for_each(|value| all.extend([",", value]));
            all.into()
        }
    })
}

/// Takes out of the headers what `carried`, read from them, dropped. All else stays as it came.
pub(super) fn clean(headers: &mut HeaderMap, carried: &Carried) {
    for key in carried.dropped() {
        let value = match key {
            Key::TraceParent => "",
            Key::TraceState => &carried.state.value,
            Key::Baggage => &carried.baggage.value,
        };
        set(headers, key, value);
    }
}

/// Writes the context to send, in place of any other, of which there is none if `are_free`.
pub(super) fn write(headers: &mut HeaderMap, context: &Outgoing<'_>, are_free: bool) {
    for (key, _) in &NAMES {
        let value = context.value(*key);
        if !(are_free && value.is_empty()) {
            set(headers, *key, value);
        }
    }
}

/// The `traceparent` of this trace, span and flags, in version 00. Made for each call that has a span, so without the machinery
/// of `format!`.
pub(super) fn traceparent(trace: [u8; 16], span: [u8; 8], flags: u8) -> [u8; TRACEPARENT_BYTES] {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    for (from, bytes) in [(3, &trace[..]), (36, &span[..]), (53, &[flags][..])] {
        write_hex(bytes, text.get_mut(from..).unwrap_or_default());
    }
    text
}

const TRACEPARENT_BYTES: usize = 55;

fn set(headers: &mut HeaderMap, key: Key, value: &str) {
    let name = NAMES.iter().find(|(other, _)| *other == key).map(|(_, name)| name.clone());
    match (name, HeaderValue::from_str(value)) {
        (Some(name), Ok(value)) if !value.is_empty() => {
            headers.insert(name, value);
        }
        (Some(name), Ok(_) | Err(_)) => {
            headers.remove(name);
        }
        (None, _) => {}
    }
}

/// The caller's request id, if it sent one of 1 to [`REQUEST_ID_BYTES_MAX`] visible ASCII characters; else `made`.
pub(super) fn request_id(headers: &HeaderMap, made: u128) -> HeaderValue {
    let mut given = headers.get_all(X_REQUEST_ID).iter();
    match (given.next(), given.next()) {
        (Some(id), None) if is_request_id(id.as_bytes()) => id.clone(),
        // Owned in the way that costs its clones nothing: it goes to the node and to the client.
        (_, _) => {
            HeaderValue::from_maybe_shared(Bytes::from_owner(hex(made))).unwrap_or(HeaderValue::from_static("none"))
        }
    }
}

/// 32 digits. Made for nearly every call, so without the machinery of `format!`.
fn hex(number: u128) -> [u8; 32] {
    let mut digits = [0; 32];
    write_hex(&number.to_be_bytes(), &mut digits);
    digits
}

/// Two digits for each byte.
fn write_hex(bytes: &[u8], digits: &mut [u8]) {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    for (byte, [high, low]) in bytes.iter().zip(digits.as_chunks_mut().0) {
        (*high, *low) = (digit(byte >> 4), digit(byte & 0xf));
    }
}

fn is_request_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}
