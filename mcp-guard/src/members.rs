//! Members of a JSON object by name, raw; and names that only look like them.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::message::unreadable;
use crate::refusal::Refusal;

/// Reads the members called `names` of the object `text`. `null` is a value, not absence.
///
/// # Errors
///
/// `parse_error` for what is no JSON; `invalid_request` for what is no object, for a name given twice, and for one
/// that differs from a wanted name only in case or in a trailing NUL: some parsers (Go's `encoding/json`, before
/// CVE-2026-27896 was mended in MCP's own SDK) take them for the same, and would act on another message than was
/// judged.
pub(crate) fn read<'a, const N: usize>(
    text: &'a str,
    names: &'static [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], Refusal> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer.deserialize_map(Members(names)).and_then(|members| deserializer.end().map(|()| members));
    members.map_err(|error| unreadable(&error))
}

struct Members<const N: usize>(&'static [&'static str; N]);

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = [None; N];
        while let Some(wanted) = map.next_key_seed(Name(self.0))? {
            match wanted.and_then(|place| Some((self.0.get(place)?, members.get_mut(place)?))) {
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
                Some((_, member @ None)) => *member = Some(map.next_value()?),
                Some((name, Some(_))) => return Err(A::Error::custom(format_args!("duplicate field `{name}`"))),
            }
        }
        Ok(members)
    }
}

/// The place of a name among those that are wanted.
struct Name<'n>(&'n [&'static str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Option<usize>, E> {
        if let Some(place) = self.0.iter().position(|name| *name == text) {
            return Ok(Some(place));
        }
        match self.0.iter().find(|name| looks_like(text, name)) {
            Some(name) => Err(E::custom(format_args!("a field that only looks like `{name}`"))),
            None => Ok(None),
        }
    }
}

/// Whether a parser that folds case, as Go's does, or stops at a NUL, takes `text` for `name`, which is ASCII.
fn looks_like(text: &str, name: &str) -> bool {
    let text = text.trim_end_matches('\0');
    if text.is_ascii() {
        return text.eq_ignore_ascii_case(name);
    }
    // The only characters beyond ASCII that fold to ASCII letters (Unicode CaseFolding.txt).
    let folded = text.replace('\u{17f}', "s").replace('\u{212a}', "k");
    folded.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Reason;

    #[test]
    fn members_are_found_and_null_is_one() {
        let [a, b, c] = read(r#"{"b":null,"x":[1,{"a":2}],"\u0061":{"y":1}}"#, &["a", "b", "c"]).unwrap();
        assert_eq!((a.unwrap().get(), b.unwrap().get(), c.is_none()), (r#"{"y":1}"#, "null", true));
    }

    #[test]
    fn names_given_twice_or_made_to_look_alike_are_refused() {
        for text in [
            r#"{"method":1,"method":2}"#,
            r#"{"Method":1}"#,
            r#"{"METHOD":1}"#,
            r#"{"method\u0000":1}"#,
            r#"{"param\u017f":1}"#,
            "{\"to\u{212a}en\":1}",
        ] {
            let refusal = read(text, &["method", "params", "token"]).unwrap_err();
            assert_eq!(refusal.reason(), Reason::InvalidRequest, "{text}");
        }
        assert!(read(r#"{"methods":1,"meth":2,"":3,"mëthod":4}"#, &["method"]).is_ok());
    }
}
