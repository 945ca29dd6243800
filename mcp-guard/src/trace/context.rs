//! `traceparent` and `tracestate` as W3C Trace Context Level 2 has them. Bad input is dropped, never passed on.

use std::borrow::Cow;
use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};

/// The most members of a `tracestate` list (Trace Context, section 3.3.1.1). A longer list is none.
pub const TRACESTATE_MEMBERS_MAX: usize = 32;

/// The most bytes of `tracestate` that are passed on: what every participant must carry (section 3.3.1.5).
pub const TRACESTATE_BYTES_MAX: usize = 512;

/// Members longer than this are the first to go when a list is too long (section 3.3.1.5).
const LONG_MEMBER_BYTES: usize = 128;

/// Who caused a message: the `traceparent` of its sender.
///
/// Read from version 00 and, as section 3.2.4 asks, from higher versions as far as 00 describes them. Written as 00.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TraceParent {
    trace_id: NonZeroU128,
    parent_id: NonZeroU64,
    flags: u8,
}

impl TraceParent {
    /// The caller records this trace.
    pub const SAMPLED: u8 = 0b01;
    /// The caller drew the trace id at random (Level 2).
    pub const RANDOM: u8 = 0b10;

    /// A parent with these ids; `None` if one of them is zero, which means "no id". Unknown flags are cleared.
    pub fn new(trace_id: u128, parent_id: u64, flags: u8) -> Option<Self> {
        Some(Self {
            trace_id: NonZeroU128::new(trace_id)?,
            parent_id: NonZeroU64::new(parent_id)?,
            flags: flags & (Self::SAMPLED | Self::RANDOM),
        })
    }

    /// Reads a header value; `None` if it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.splitn(5, '-');
        let version = hex(fields.next()?, 2)?;
        let trace_id = hex(fields.next()?, 32)?;
        let parent_id = u64::try_from(hex(fields.next()?, 16)?).ok()?;
        let flags = u8::try_from(hex(fields.next()?, 2)?).ok()?;
        match (version, fields.next()) {
            (0, None) => Self::new(trace_id, parent_id, flags),
            // 00 ends here, and ff is no version.
            (0, Some(_)) | (0xff, _) => None,
            // Of a later version only the sampled flag is known to mean the same.
            (_, _) => Self::new(trace_id, parent_id, flags & Self::SAMPLED),
        }
    }

    /// The id of the whole trace.
    pub fn trace_id(self) -> u128 {
        self.trace_id.get()
    }

    /// The id of the span that sent the message.
    pub fn parent_id(self) -> u64 {
        self.parent_id.get()
    }

    /// [`TraceParent::SAMPLED`] and [`TraceParent::RANDOM`].
    pub fn flags(self) -> u8 {
        self.flags
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.parent_id, self.flags)
    }
}

/// The number that exactly `digits` lower-case hex digits mean. Upper case is malformed.
fn hex(text: &str, digits: usize) -> Option<u128> {
    if text.len() != digits || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    u128::from_str_radix(text, 16).ok()
}

/// What of a list may be passed on.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Kept<'a> {
    /// The list; as it came, if nothing was dropped. Empty, if nothing is left.
    pub value: Cow<'a, str>,
    /// Whether members were dropped, for being malformed or too much.
    pub cut: bool,
}

impl<'a> Kept<'a> {
    pub(super) fn of(text: &'a str, members: &[&str], cut: bool) -> Self {
        let value = match members {
            [] => Cow::Borrowed(""),
            _ if cut => Cow::Owned(members.join(",")),
            _ => Cow::Borrowed(text),
        };
        Self { value, cut }
    }
}

/// What of a `tracestate` may be passed on.
///
/// A list that breaks the grammar is dropped whole, as the W3C's own test suite asks: more than
/// [`TRACESTATE_MEMBERS_MAX`] members, a key twice, a bad key or value. One above [`TRACESTATE_BYTES_MAX`] loses
/// whole members: first those above 128 bytes, then from the end, where the oldest stand.
pub fn tracestate(text: &str) -> Kept<'_> {
    let Some(mut members) = tracestate_members(text) else {
        return Kept { value: Cow::Borrowed(""), cut: true };
    };
    if text.len() <= TRACESTATE_BYTES_MAX {
        return Kept::of(text, &members, false);
    }
    let fits = |members: &[&str]| joined_bytes(members) <= TRACESTATE_BYTES_MAX;
    while !fits(&members) {
        let longest_last = members.iter().rposition(|member| member.len() > LONG_MEMBER_BYTES);
        members.remove(longest_last.unwrap_or(members.len() - 1));
    }
    Kept::of(text, &members, true)
}

fn joined_bytes(members: &[&str]) -> usize {
    members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1)
}

/// The members of a well-formed list. Empty ones are allowed and mean nothing.
fn tracestate_members(text: &str) -> Option<Vec<&str>> {
    let mut members: Vec<&str> = Vec::new();
    let mut keys: Vec<&str> = Vec::new();
    for member in text.split(',').map(trim).filter(|member| !member.is_empty()) {
        let (key, value) = member.split_once('=')?;
        if members.len() == TRACESTATE_MEMBERS_MAX || keys.contains(&key) || !is_key(key) || !is_value(value) {
            return None;
        }
        members.push(member);
        keys.push(key);
    }
    Some(members)
}

/// Removes the optional white space of HTTP lists.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A simple key, or `tenant@system` (section 3.3.1.3.1).
fn is_key(key: &str) -> bool {
    let part = |part: &str, bytes_max: usize| {
        part.len() <= bytes_max
            && part.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/'))
    };
    match key.split_once('@') {
        Some((tenant, system)) => part(tenant, 241) && part(system, 14),
        None => part(key, 256),
    }
}

/// 1 to 256 printable ASCII characters without `,` and `=`. Spaces at the end were trimmed with the member.
fn is_value(value: &str) -> bool {
    (1..=256).contains(&value.len())
        && value.bytes().all(|byte| matches!(byte, 0x20..=0x7e) && byte != b',' && byte != b'=')
}
