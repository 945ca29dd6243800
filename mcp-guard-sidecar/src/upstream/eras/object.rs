//! JSON objects whose members are moved, not read: numbers, escapes and order stay as they came.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// An object's members, each value as JSON text.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Object<'a>(Vec<(Name<'a>, Cow<'a, str>)>);

/// A member's name.
#[derive(Debug)]
enum Name<'a> {
    /// What it says, borrowed where it has no escape.
    Meant(Cow<'a, str>),
    /// How it is written, between its quotes, if it says nothing: it has half of a surrogate pair. Nobody asks for it by name.
    Written(&'a str),
}

impl Name<'_> {
    fn is(&self, name: &str) -> bool {
        matches!(self, Self::Meant(known) if known == name)
    }

    fn json(&self) -> String {
        match self {
            Self::Meant(name) => quote(name),
            Self::Written(name) => format!("\"{name}\""),
        }
    }
}

impl<'a> Object<'a> {
    /// Reads `text`; `None` if it is no object.
    pub(in crate::upstream) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The same for what ought to be UTF-8.
    pub(in crate::upstream) fn of(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The value of the member `name`: of several, as most parsers, the last.
    pub(in crate::upstream) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known.is(name)).map(|(_, value)| &**value)
    }

    /// Whether there is a member `name` that is not `null`.
    pub(in crate::upstream) fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "null")
    }

    /// The member `name`, if it is an object.
    pub(in crate::upstream) fn object(&self, name: &str) -> Option<Object<'_>> {
        Object::read(self.get(name)?)
    }

    /// The member `name`, if it is a string.
    pub(in crate::upstream) fn string(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?).ok()
    }

    /// Takes the member `name` out.
    pub(in crate::upstream) fn take(&mut self, name: &str) -> Option<Cow<'a, str>> {
        self.0.extract_if(.., |(known, _)| known.is(name)).last().map(|(_, value)| value)
    }

    /// Gives the member `name` the value that is the JSON text `value`.
    pub(in crate::upstream) fn set(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        let mut value = Some(value.into());
        self.0.retain_mut(|(known, held)| !known.is(name) || value.take().map(|value| *held = value).is_some());
        self.0.extend(value.map(|value| (Name::Meant(name.into()), value)));
    }

    /// The same, unless there is one.
    pub(in crate::upstream) fn set_absent(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        if !self.has(name) {
            self.set(name, value);
        }
    }

    /// Changes the member `name`, which is an object or becomes one; nothing is left of one that is empty then.
    pub(in crate::upstream) fn change(&mut self, name: &'a str, change: impl FnOnce(&mut Object<'_>)) {
        let value = self.take(name);
        let mut member = value.as_deref().and_then(Object::read).unwrap_or_default();
        change(&mut member);
        if !member.is_empty() {
            let member = member.to_string();
            self.set(name, member);
        }
    }

    /// Keeps the members whose names are so, and those that have none.
    pub(in crate::upstream) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| match name {
            Name::Meant(name) => is_kept(name),
            Name::Written(_) => true,
        });
    }

    /// The members, in their order, each name as the JSON text that it is.
    pub(in crate::upstream) fn members(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().map(|(name, value)| (name.json(), &**value))
    }

    pub(in crate::upstream) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `text` as a JSON string.
pub(in crate::upstream) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, value)) in self.members().enumerate() {
            let comma = if place == 0 { "{" } else { "," };
            write!(f, "{comma}{name}:{value}")?;
        }
        f.write_str(if self.is_empty() { "{}" } else { "}" })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quoted = <&RawValue>::deserialize(deserializer)?.get();
        let written = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
        Ok(if !written.contains('\\') {
            Self::Meant(written.into())
        } else if let Ok(name) = serde_json::from_str::<String>(quoted) {
            Self::Meant(name.into())
        } else {
            Self::Written(written)
        })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some((name, value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name, Cow::Borrowed(value.get())));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_touched_stays_as_it_was_written() {
        let text = r#"{"n":1.0e400,"a\u0062":"\u00fc", "o": {"x" : 12345678901234567890123} }"#;
        let mut object = Object::read(text).unwrap();
        assert_eq!(object.get("ab"), Some(r#""\u00fc""#));
        assert_eq!(object.take("n").as_deref(), Some("1.0e400"));
        object.set("new", "true");
        object.set_absent("o", "1");
        assert_eq!(object.to_string(), r#"{"ab":"\u00fc","o":{"x" : 12345678901234567890123},"new":true}"#);
        assert_eq!(Object::default().to_string(), "{}");
        object.change("o", |o| o.set("y", "2"));
        object.change("new", |new| assert!(new.is_empty()));
        assert_eq!(object.to_string(), r#"{"ab":"\u00fc","o":{"x":12345678901234567890123,"y":2}}"#);
    }

    #[test]
    fn a_member_that_is_there_twice_is_so_no_longer_when_it_is_changed() {
        let text = r#"{"a":1,"b":2,"\u0061":3}"#;
        let mut object = Object::read(text).unwrap();
        assert_eq!(object.get("a"), Some("3"));
        object.set("a", "4");
        assert_eq!(object.to_string(), r#"{"a":4,"b":2}"#);
        let mut object = Object::read(text).unwrap();
        assert_eq!(object.take("a").as_deref(), Some("3"));
        assert_eq!(object.to_string(), r#"{"b":2}"#);
    }

    #[test]
    fn a_name_with_half_of_a_surrogate_pair_stays_as_it_was_written_and_takes_nothing_with_it() {
        let mut object = Object::read(r#"{"_meta":{"\ude00":1,"\\ude00":2,"progressToken":7}}"#).unwrap();
        object.change("_meta", |meta| {
            meta.set(r"\ude00", "3");
            assert_eq!(meta.get("progressToken"), Some("7"));
        });
        assert_eq!(object.to_string(), r#"{"_meta":{"\ude00":1,"\\ude00":3,"progressToken":7}}"#);
    }

    #[test]
    fn the_seeds_of_the_fuzz_target_are_changed_well() {
        crate::fuzz_seeds::for_each("eras_object", super::super::fuzz_check::check);
    }

    #[test]
    fn only_objects_are_read() {
        for text in ["[]", "1", "null", "{", r#"{"a":1} 2"#] {
            assert!(Object::read(text).is_none(), "{text}");
        }
    }
}
