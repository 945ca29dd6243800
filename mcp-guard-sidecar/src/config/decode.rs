//! Tree to types, through serde: what serde finds wrong stays structured and keeps its place.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::fault::Fault;
use super::key_path::KeyPath;
use super::node::{Content, Entry, Node};

/// A value of type `T` from a tree.
pub(super) fn decode<T: DeserializeOwned>(tree: &Node) -> Result<T, Fault> {
    T::deserialize(Part { node: tree, path: KeyPath::root() })
}

/// A node, and its path in the tree as it is now.
struct Part<'a> {
    node: &'a Node,
    path: KeyPath,
}

impl<'de> de::Deserializer<'de> for Part<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let path = self.path.clone();
        let result = match &self.node.content {
            Content::List(items) => visitor.visit_seq(Items { items, next: 0, path: self.path }),
            Content::Mapping(entries) => visitor.visit_map(Entries { entries, value: None, path: self.path }),
            Content::Scalar(Value::Bool(value)) => visitor.visit_bool(*value),
            Content::Scalar(Value::String(text)) => visitor.visit_str(text),
            Content::Scalar(Value::Number(number)) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (None, Some(number), _) => visitor.visit_i64(number),
                (None, None, Some(number)) => visitor.visit_f64(number),
                (None, None, None) => visitor.visit_unit(),
            },
            Content::Scalar(Value::Null | Value::Array(_) | Value::Object(_)) => visitor.visit_unit(),
        };
        result.map_err(|fault| fault.within(|| path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let result = match &self.node.content {
            Content::Scalar(Value::String(text)) => {
                let text: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                de::Deserializer::deserialize_enum(text, name, variants, visitor)
            }
            Content::Scalar(_) | Content::List(_) | Content::Mapping(_) => {
                Err(<Fault as de::Error>::unknown_variant("", variants))
            }
        };
        result.map_err(|fault| fault.within(|| self.path))
    }

    /// Serde would read a list as the fields of a struct in their order, which nobody means here.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.content {
            Content::Mapping(_) => self.deserialize_any(visitor),
            Content::Scalar(_) | Content::List(_) => {
                let fault = <Fault as de::Error>::invalid_type(de::Unexpected::Other(""), &"a map");
                Err(fault.within(|| self.path))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map identifier ignored_any
    }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
    path: KeyPath,
}

impl<'de> de::SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.items.get(self.next) else {
            return Ok(None);
        };
        let path = self.path.index(self.next);
        self.next += 1;
        // Also what a type says of the whole part, after the part was read, is about the part.
        seed.deserialize(Part { node, path: path.clone() }).map(Some).map_err(|fault| fault.within(|| path))
    }
}

struct Entries<'a> {
    entries: &'a [Entry],
    value: Option<&'a Entry>,
    path: KeyPath,
}

impl<'de> de::MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((entry, rest)) = self.entries.split_first() else {
            return Ok(None);
        };
        self.entries = rest;
        self.value = Some(entry);
        let key: StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|fault| fault.within(|| self.path.key(&entry.key)))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(entry) = self.value.take() else {
            return Err(<Fault as de::Error>::custom("a value was asked for before its key"));
        };
        let path = self.path.key(&entry.key);
        seed.deserialize(Part { node: &entry.value, path: path.clone() }).map_err(|fault| fault.within(|| path))
    }
}
