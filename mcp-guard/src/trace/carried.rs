//! The context that a message carries, once read and cleaned, wherever it stood.

use std::borrow::Cow;

use super::baggage::{BaggageLimits, baggage};
use super::context::{Kept, TraceParent, tracestate};
use super::meta::{Key, Meta};

/// What a message says about the trace it belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Carried {
    /// Who sent it; `None` if it does not say, or not well.
    pub(super) parent: Option<TraceParent>,
    /// Empty without a parent, of which it is a part.
    pub(super) state: Cleaned,
    pub(super) baggage: Cleaned,
    /// Whether there was a `traceparent` that is none.
    pub(super) parent_malformed: bool,
}

/// A list that may be passed on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Cleaned {
    pub(super) value: Box<str>,
    pub(super) cut: bool,
}

impl From<Kept<'_>> for Cleaned {
    fn from(kept: Kept<'_>) -> Self {
        Self { value: kept.value.into(), cut: kept.cut }
    }
}

impl Carried {
    /// Reads what `field` finds; it gives an empty text for what is there but is no text.
    pub(super) fn read<'a>(field: impl Fn(Key) -> Option<Cow<'a, str>>, limits: BaggageLimits) -> Self {
        let traceparent = field(Key::TraceParent);
        let parent = traceparent.as_deref().and_then(TraceParent::parse);
        let list = |text: Option<Cow<'_, str>>, clean: &dyn Fn(&str) -> Cleaned| match text.as_deref() {
            None => Cleaned::default(),
            Some("") => Cleaned { value: "".into(), cut: true },
            Some(text) => clean(text),
        };
        Self {
            parent,
            parent_malformed: traceparent.is_some() && parent.is_none(),
            // Without its parent a `tracestate` means nothing (Trace Context, section 3.3).
            state: match parent {
                Some(_) => list(field(Key::TraceState), &|text| tracestate(text).into()),
                None => Cleaned { value: "".into(), cut: field(Key::TraceState).is_some() },
            },
            baggage: list(field(Key::Baggage), &|text| baggage(text, limits).into()),
        }
    }

    /// Reads what `_meta` says.
    pub(super) fn in_meta(meta: &Meta<'_>, limits: BaggageLimits) -> Self {
        let field = |key| meta.has(key).then(|| meta.get(key).unwrap_or_default());
        Self::read(field, limits)
    }

    /// The fields of which something was dropped.
    pub(super) fn dropped(&self) -> impl Iterator<Item = Key> {
        let dropped = [
            (Key::TraceParent, self.parent_malformed),
            (Key::TraceState, self.state.cut),
            (Key::Baggage, self.baggage.cut),
        ];
        dropped.into_iter().filter(|(_, dropped)| *dropped).map(|(key, _)| key)
    }
}
