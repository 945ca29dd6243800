//! Reads JSON into a value, refusing objects that name a member twice.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::violation::Violation;

/// Reads `json`.
///
/// A member that is named twice is refused: parsers differ in which of the two they take, so the node could act on
/// one that was never checked. serde_json reads 128 levels deep; the guard's own bound is usually lower.
///
/// # Errors
///
/// The member that comes twice, or that it is no JSON.
pub(super) fn read(json: &[u8]) -> Result<Value, Violation> {
    let twice = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = Once { twice: &twice }.deserialize(&mut deserializer);
    match (value, twice.into_inner()) {
        (Ok(value), _) => Ok(value),
        (Err(_), Some(pointer)) => Err(Violation::new(&pointer, "uniqueNames", "each member once")),
        (Err(_), None) => Err(Violation::new("", "json", "JSON of at most 128 levels")),
    }
}

/// Reads one value; `twice` gets the pointer of a member that comes twice, put together on the way out.
#[derive(Clone, Copy)]
struct Once<'a> {
    twice: &'a RefCell<Option<String>>,
}

impl Once<'_> {
    fn step_out(self, step: &str) {
        if let Some(pointer) = self.twice.borrow_mut().as_mut() {
            pointer.insert_str(0, &format!("/{}", step.replace('~', "~0").replace('/', "~1")));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Once<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            match items.next_element_seed(self) {
                Ok(Some(value)) => values.push(value),
                Ok(None) => return Ok(Value::Array(values)),
                Err(error) => {
                    self.step_out(&values.len().to_string());
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match values.entry(name) {
                Entry::Vacant(place) => match members.next_value_seed(self) {
                    Ok(value) => _ = place.insert(value),
                    Err(error) => {
                        self.step_out(place.key());
                        return Err(error);
                    }
                },
                Entry::Occupied(place) => {
                    self.twice.replace(Some(String::new()));
                    self.step_out(place.key());
                    return Err(A::Error::custom("a member comes twice"));
                }
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::samples::any_json;
    use super::*;

    #[test]
    fn a_member_that_comes_twice_is_refused_with_its_place() {
        let fault = read(br#"{"a": 1, "list": [0, {"x/y": 1, "x/y": 2}]}"#).unwrap_err();
        assert_eq!((fault.pointer(), fault.rule()), ("/list/1/x~1y", "uniqueNames"));
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_refused() {
        assert_eq!(read(b"{").unwrap_err().rule(), "json");
        assert_eq!(read("[".repeat(1_000).as_bytes()).unwrap_err().rule(), "json");
    }

    proptest! {
        #[test]
        fn everything_else_is_read_as_serde_json_reads_it(value in any_json()) {
            prop_assert_eq!(read(value.to_string().as_bytes()).unwrap(), value);
        }
    }
}
