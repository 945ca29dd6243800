//! A message as `jsonschema` sees it: where it lies, without a copy.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json as Representation, JsonNumber, Node, NodeIdentity, Object};
use serde_json::{Number, Value};

use super::value::{Elements, Json, Kind, Members};

/// The representation of JSON that this crate's validators check: [`Json`] on a [`Tape`](super::Tape).
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "only a name for the representation")]
pub struct TapeJson;

/// A value of a message, or a name that is checked as one (`propertyNames`).
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
#[expect(clippy::exhaustive_enums, reason = "made and read by jsonschema")]
pub enum TapeNode<'a> {
    /// A value on a tape.
    At(Json<'a>),
    /// A string that is nowhere on it.
    Text(&'a str),
}

impl Representation for TapeJson {
    type Node<'a> = TapeNode<'a>;
    type PreparedKey = Box<str>;
    type StringBuffer = ();

    // Names of small objects lie side by side: one pass over them costs less than a search for each.
    const KEYS_PER_LOOKUP: usize = 8;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>((): &mut (), string: &str, f: impl FnOnce(TapeNode<'_>) -> T) -> T {
        f(TapeNode::Text(string))
    }
}

impl<'a> TapeNode<'a> {
    fn json(self) -> Option<Json<'a>> {
        match self {
            Self::At(json) => Some(json),
            Self::Text(_) => None,
        }
    }

    fn of_kind(self, kind: Kind) -> Option<Json<'a>> {
        self.json().filter(|json| json.kind() == kind)
    }
}

impl<'a> Node<'a, TapeJson> for TapeNode<'a> {
    type Object = ObjectOf<'a>;
    type Array = ArrayOf<'a>;
    type Number = NumberOf;

    fn as_object(&self) -> Option<ObjectOf<'a>> {
        self.of_kind(Kind::Object).map(ObjectOf)
    }

    fn as_array(&self) -> Option<ArrayOf<'a>> {
        self.of_kind(Kind::Array).map(ArrayOf)
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::At(json) => json.as_text(),
            Self::Text(text) => Some(Cow::Borrowed(text)),
        }
    }

    fn as_number(&self) -> Option<NumberOf> {
        self.of_kind(Kind::Number).map(|json| NumberOf(json.as_number().unwrap_or_else(|| 0.into())))
    }

    fn is_number(&self) -> bool {
        self.of_kind(Kind::Number).is_some()
    }

    fn as_boolean(&self) -> Option<bool> {
        self.json().and_then(Json::as_boolean)
    }

    fn is_null(&self) -> bool {
        self.of_kind(Kind::Null).is_some()
    }

    fn json_type(&self) -> JsonType {
        match self.json().map(Json::kind) {
            Some(Kind::Null) => JsonType::Null,
            Some(Kind::Boolean) => JsonType::Boolean,
            Some(Kind::Number) => JsonType::Number,
            Some(Kind::Text) | None => JsonType::String,
            Some(Kind::Array) => JsonType::Array,
            Some(Kind::Object) => JsonType::Object,
        }
    }

    /// Texts are what `enum` and `const` are mostly about, and need no copy.
    fn equals_value(&self, expected: &Value) -> bool {
        match expected {
            Value::String(text) => match self {
                Self::At(json) => json.is_text(text),
                Self::Text(own) => own == text,
            },
            Value::Null => self.is_null(),
            Value::Bool(expected) => self.as_boolean() == Some(*expected),
            Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                jsonschema::json::cmp::equal(&self.to_value(), expected)
            }
        }
    }

    fn to_value(&self) -> Cow<'a, Value> {
        Cow::Owned(match self {
            Self::At(json) => json.to_value(),
            Self::Text(text) => Value::String((*text).to_owned()),
        })
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(match self {
            Self::At(json) => NodeIdentity::tagged(json.tape_address(), json.at()),
            Self::Text(text) => NodeIdentity::tagged(text.as_ptr().addr(), u32::MAX),
        })
    }
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct ObjectOf<'a>(Json<'a>);

impl<'a> Object<'a, TapeJson> for ObjectOf<'a> {
    type Node = TapeNode<'a>;
    type MemberName = Cow<'a, str>;
    type MembersIter = MembersOf<'a>;

    fn len(&self) -> usize {
        self.0.members().count()
    }

    fn is_empty(&self) -> bool {
        self.0.members().next().is_none()
    }

    fn get(&self, key: &Box<str>) -> Option<TapeNode<'a>> {
        self.0.get(key).map(TapeNode::At)
    }

    fn members(&self) -> MembersOf<'a> {
        MembersOf(self.0.members())
    }
}

#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct MembersOf<'a>(Members<'a>);

impl<'a> Iterator for MembersOf<'a> {
    type Item = (Cow<'a, str>, TapeNode<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.0.next()?;
        Some((name.as_text().unwrap_or_default(), TapeNode::At(value)))
    }
}

#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct ArrayOf<'a>(Json<'a>);

impl<'a> Array<'a, TapeJson> for ArrayOf<'a> {
    type Node = TapeNode<'a>;
    type ElementsIter = ElementsOf<'a>;

    fn len(&self) -> usize {
        self.0.elements().count()
    }

    fn elements(&self) -> ElementsOf<'a> {
        ElementsOf(self.0.elements())
    }
}

#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct ElementsOf<'a>(Elements<'a>);

impl<'a> Iterator for ElementsOf<'a> {
    type Item = TapeNode<'a>;

    fn next(&mut self) -> Option<TapeNode<'a>> {
        self.0.next().map(TapeNode::At)
    }
}

/// A number, as serde_json reads it.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct NumberOf(Number);

impl JsonNumber for NumberOf {
    fn as_u64(&self) -> Option<u64> {
        self.0.as_u64()
    }

    fn as_i64(&self) -> Option<i64> {
        self.0.as_i64()
    }

    fn as_f64(&self) -> Option<f64> {
        self.0.as_f64()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Owned(self.0.to_string())
    }

    fn to_number(&self) -> Cow<'_, Number> {
        Cow::Borrowed(&self.0)
    }
}
