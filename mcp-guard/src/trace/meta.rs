//! Trace context in `params._meta`: read in place, and written by a splice that leaves every other byte alone.
//!
//! The keys are unprefixed (SEP-414). This is the trace rewrite of invariant I7.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The most members of a `_meta` that is looked at. The protocol defines fewer than ten; a larger one passes unread.
pub const META_MEMBERS_MAX: usize = 256;

/// The keys of trace context, in `_meta` and as header names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the three keys of SEP-414")]
pub enum Key {
    /// `traceparent`.
    TraceParent,
    /// `tracestate`.
    TraceState,
    /// `baggage`.
    Baggage,
}

impl Key {
    const ALL: [Self; 3] = [Self::TraceParent, Self::TraceState, Self::Baggage];

    /// The key as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TraceParent => "traceparent",
            Self::TraceState => "tracestate",
            Self::Baggage => "baggage",
        }
    }
}

/// The `_meta` object of a message, in place.
#[derive(Clone, Debug)]
pub struct Meta<'a> {
    body: &'a [u8],
    object: Range<usize>,
    members: Vec<Member>,
}

#[derive(Clone, Debug)]
struct Member {
    key: Option<Key>,
    /// From the quote that opens the key to the end of the value.
    whole: Range<usize>,
    value: Range<usize>,
}

/// The context to write. An empty value is not written, and removed where it stood.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "the three keys of SEP-414")]
pub struct Outgoing<'a> {
    /// The new `traceparent`.
    pub traceparent: &'a str,
    /// The new `tracestate`.
    pub tracestate: &'a str,
    /// The new `baggage`.
    pub baggage: &'a str,
}

impl Outgoing<'_> {
    pub(super) fn value(&self, key: Key) -> &str {
        match key {
            Key::TraceParent => self.traceparent,
            Key::TraceState => self.tracestate,
            Key::Baggage => self.baggage,
        }
    }
}

impl<'a> Meta<'a> {
    /// The `_meta` in the params that lie at `params` in `body`.
    ///
    /// `None` if there is none, if it is given twice or is no object, or if it or the params have more than
    /// [`META_MEMBERS_MAX`] members.
    pub fn find(body: &'a [u8], params: Range<usize>) -> Option<Self> {
        let text = std::str::from_utf8(body.get(params)?).ok()?;
        // Most params have no `_meta`; looking for it costs far less than reading them.
        if !text.contains("_meta") {
            return None;
        }
        let Members(params) = serde_json::from_str(text).ok()?;
        let mut metas = params.iter().filter(|(key, _)| unescape(key).as_deref() == Some("_meta"));
        let (Some((_, meta)), None) = (metas.next(), metas.next()) else { return None };
        let Members(members) = serde_json::from_str(meta.get()).ok()?;
        let object = range_in(body, meta.get());
        let members = members.into_iter().map(|(key, value)| Member::new(body, key, value)).collect();
        Some(Self { body, object, members })
    }

    /// Whether `key` is there at all, well-formed or not.
    pub fn has(&self, key: Key) -> bool {
        self.members.iter().any(|member| member.key == Some(key))
    }

    /// The value of `key`, unescaped. `None` if it is absent, given twice, or no text.
    pub fn get(&self, key: Key) -> Option<Cow<'a, str>> {
        let mut found = self.members.iter().filter(|member| member.key == Some(key));
        let (Some(member), None) = (found.next(), found.next()) else { return None };
        unescape_text(std::str::from_utf8(self.body.get(member.value.clone())?).ok()?)
    }

    /// The body with `context` in `_meta` and everything else as it came.
    ///
    /// Values are replaced where they stand; new ones are added at the end. `None` only if the places noted by
    /// [`Meta::find`] do not fit the body, which cannot happen.
    pub fn splice(&self, context: &Outgoing<'_>) -> Option<Splice> {
        self.splice_by(|key| Some(context.value(key)))
    }

    /// The body without `key` in `_meta` and everything else as it came; `None` as for [`Meta::splice`].
    pub fn without(&self, key: Key) -> Option<Splice> {
        self.splice_by(|other| (other == key).then_some(""))
    }

    /// The body with what `value` says of each key: nothing leaves it as it came, and an empty text takes it out.
    fn splice_by<'v>(&self, value: impl Fn(Key) -> Option<&'v str>) -> Option<Splice> {
        let mut out = Vec::with_capacity(self.body.len() + ROOM_BYTES);
        out.extend_from_slice(self.body.get(..self.object.start)?);
        self.write_object(value, &mut out)?;
        out.extend_from_slice(self.body.get(self.object.end..)?);
        Some(Splice { old_end: self.object.end, old_bytes: self.body.len(), body: out })
    }

    fn write_object<'v>(&self, value: impl Fn(Key) -> Option<&'v str>, out: &mut Vec<u8>) -> Option<()> {
        let first = self.members.first().map_or(self.object.start + 1, |member| member.whole.start);
        out.extend_from_slice(self.body.get(self.object.start..first)?);
        let mut last_end = first;
        let mut any = false;
        let mut written = Vec::with_capacity(Key::ALL.len());
        for member in &self.members {
            // What stands between two members goes with the second one: a comma and white space.
            let before = last_end..member.whole.start;
            last_end = member.whole.end;
            let new = member.key.and_then(|key| Some((key, value(key)?)));
            let new = match new {
                Some((key, text)) if written.contains(&key) || text.is_empty() => continue,
                Some((key, text)) => {
                    written.push(key);
                    Some(text)
                }
                None => None,
            };
            if std::mem::replace(&mut any, true) {
                out.extend_from_slice(self.body.get(before)?);
            }
            self.write_member(member, new, out)?;
        }
        let added = Key::ALL.into_iter().filter_map(|key| Some((key, value(key)?)));
        for (key, text) in added.filter(|(key, text)| !written.contains(key) && !text.is_empty()) {
            if std::mem::replace(&mut any, true) {
                out.push(b',');
            }
            out.extend_from_slice(format!("\"{}\":", key.as_str()).as_bytes());
            write_text(text, out)?;
        }
        out.extend_from_slice(self.body.get(last_end..self.object.end)?);
        Some(())
    }

    fn write_member(&self, member: &Member, value: Option<&str>, out: &mut Vec<u8>) -> Option<()> {
        let Some(value) = value else {
            out.extend_from_slice(self.body.get(member.whole.clone())?);
            return Some(());
        };
        out.extend_from_slice(self.body.get(member.whole.start..member.value.start)?);
        write_text(value, out)
    }
}

/// Room for three values of usual length, so that most rewrites allocate once.
const ROOM_BYTES: usize = 192;

/// `text` as JSON. A `tracestate` may hold quotes and backslashes.
fn write_text(text: &str, out: &mut Vec<u8>) -> Option<()> {
    serde_json::to_writer(out, text).ok()
}

/// A body with new context in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Splice {
    body: Vec<u8>,
    old_end: usize,
    old_bytes: usize,
}

impl Splice {
    /// Where that lies now which lay at `range` before and did not lie within `_meta`.
    pub fn moved(&self, range: Range<usize>) -> Range<usize> {
        let place = |at: usize| if at < self.old_end { at } else { at + self.body.len() - self.old_bytes };
        place(range.start)..place(range.end)
    }

    /// The new body.
    pub fn into_body(self) -> Vec<u8> {
        self.body
    }
}

impl Member {
    fn new(body: &[u8], key: &RawValue, value: &RawValue) -> Self {
        let (name, value) = (unescape(key), range_in(body, value.get()));
        Self {
            key: Key::ALL.into_iter().find(|key| name.as_deref() == Some(key.as_str())),
            whole: range_in(body, key.get()).start..value.end,
            value,
        }
    }
}

/// Where `part` lies in `body`, of which it is a part.
fn range_in(body: &[u8], part: &str) -> Range<usize> {
    let start = part.as_ptr().addr().saturating_sub(body.as_ptr().addr());
    start..start + part.len()
}

fn unescape(text: &RawValue) -> Option<Cow<'_, str>> {
    unescape_text(text.get())
}

/// What a JSON string says; `None` if it is another kind of value.
fn unescape_text(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(text).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// The members of an object, raw and in order, keys given twice included.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            if members.len() == META_MEMBERS_MAX {
                return Err(A::Error::custom("too many members"));
            }
            members.push(member);
        }
        Ok(Members(members))
    }
}
