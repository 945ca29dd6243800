//! Refuses schemas that could make compiling or checking run away, before either begins.

use serde_json::Value;

use super::compile::SchemaFault;

/// The deepest nesting of a schema. Schemas that people write have less than 20; a compiler recurses over it.
pub const SCHEMA_DEPTH_MAX: usize = 64;

/// The most `pattern`s and `patternProperties` of one schema: each costs up to milliseconds to compile.
pub const PATTERNS_MAX: usize = 64;

/// The longest regular expression in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// The most places of a schema with its references followed.
///
/// The validator walks a definition as often as it is referred to, so that thirty definitions that each refer to the
/// next one twice would keep it busy for a billion steps.
pub const PLACES_MAX: usize = 32_768;

/// The most references that cannot be followed here: to anchors, to other ids, dynamic ones. Too few for harm.
const FOREIGN_MAX: usize = 8;

const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// What is known of a schema that was not refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screened {
    /// How many places it has with its references followed, each recursion once.
    pub(super) places: usize,
    /// How many `pattern`s and `patternProperties` it has, each once.
    pub(super) patterns: usize,
    /// Whether it refers to itself, or to what cannot be followed here.
    pub(super) is_recursive: bool,
}

/// Measures `schema`, and refuses one that is beyond a bound.
pub(super) fn screen(schema: &Value) -> Result<Screened, SchemaFault> {
    let (patterns, has_ids) = surface(schema)?;
    Ok(Screened { patterns, ..unfold(schema, has_ids)? })
}

/// Looks at each place once: how many patterns there are, and whether a part has an `$id`, so that `#` means another root there.
fn surface(schema: &Value) -> Result<(usize, bool), SchemaFault> {
    let (mut patterns, mut has_ids) = (0, false);
    let mut rest = vec![(schema, 0)];
    while let Some((value, depth)) = rest.pop() {
        if depth > SCHEMA_DEPTH_MAX {
            return Err(SchemaFault::TooDeep);
        }
        let listed = value.get("patternProperties").and_then(Value::as_object);
        let listed = listed.into_iter().flat_map(|patterns| patterns.keys().map(String::as_str));
        for pattern in listed.chain(value.get("pattern").and_then(Value::as_str)) {
            patterns += 1;
            if patterns > PATTERNS_MAX || pattern.len() > PATTERN_BYTES_MAX {
                return Err(SchemaFault::TooManyPatterns);
            }
        }
        has_ids |= depth > 0 && ["$id", "id"].iter().any(|id| value.get(id).is_some_and(Value::is_string));
        rest.extend(children(value).map(|child| (child, depth + 1)));
    }
    Ok((patterns, has_ids))
}

enum Step<'a> {
    Enter(&'a Value),
    Follow(&'a Value),
    /// What the last followed reference leads to has been seen.
    Return,
}

/// Counts the places of `schema` as the validator walks them: what a reference leads to counts each time.
fn unfold(schema: &Value, has_ids: bool) -> Result<Screened, SchemaFault> {
    let mut found = Screened { places: 0, patterns: 0, is_recursive: false };
    let mut foreign = 0;
    let mut within = vec![schema];
    let mut rest = vec![Step::Enter(schema)];
    while let Some(step) = rest.pop() {
        let value = match step {
            Step::Enter(value) => value,
            Step::Return => {
                within.pop();
                continue;
            }
            // The validator remembers what it found in a recursion, so that it counts once.
            Step::Follow(target) if within.iter().any(|open| std::ptr::eq(*open, target)) => {
                found.is_recursive = true;
                continue;
            }
            Step::Follow(target) => {
                within.push(target);
                rest.push(Step::Return);
                target
            }
        };
        found.places += 1;
        for reference in REFERENCES.iter().filter_map(|key| value.get(key)?.as_str()) {
            let target = reference.strip_prefix('#').filter(|_| !has_ids).and_then(|pointer| schema.pointer(pointer));
            rest.extend(target.map(Step::Follow));
            foreign += usize::from(target.is_none());
            found.is_recursive |= target.is_none();
        }
        if found.places > PLACES_MAX || foreign > FOREIGN_MAX {
            return Err(SchemaFault::TooManyReferences);
        }
        rest.extend(children(value).map(Step::Enter));
    }
    Ok(found)
}

fn children(value: &Value) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Value::Array(items) => Box::new(items.iter()),
        Value::Object(members) => Box::new(members.values()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn fault(schema: &Value) -> SchemaFault {
        screen(schema).unwrap_err()
    }

    #[test]
    fn a_schema_that_is_too_deep_is_refused() {
        let deep = (0..100).fold(json!({}), |inner, _| json!({"not": inner}));
        assert_eq!(fault(&deep), SchemaFault::TooDeep);
    }

    #[test]
    fn too_many_or_too_long_patterns_are_refused() {
        assert_eq!(fault(&json!({"pattern": "a".repeat(2_000)})), SchemaFault::TooManyPatterns);
        let patterns: Map<_, _> = (0..101).map(|n| (n.to_string(), true.into())).collect();
        assert_eq!(fault(&json!({"patternProperties": patterns})), SchemaFault::TooManyPatterns);
    }

    /// Forty definitions that each refer to the next one twice compile in 2 ms, and checking a number then takes years.
    #[test]
    fn references_that_double_at_each_step_are_refused() {
        for to in ["#/$defs/", "#d", "https://a.example/"] {
            let definition = |n: u32| {
                let next = json!({"$ref": format!("{to}d{}", n + 1)});
                (format!("d{n}"), json!({"$anchor": format!("dd{n}"), "anyOf": [next, next]}))
            };
            let definitions: Map<_, _> = (0..40).map(definition).collect();
            let schema = json!({"$defs": definitions, "$ref": format!("{to}d0")});
            assert_eq!(fault(&schema), SchemaFault::TooManyReferences, "{to}");
        }
    }

    #[test]
    fn references_cannot_hide_behind_an_id() {
        let definitions: Map<_, _> = (0..40)
            .map(|n| (format!("d{n}"), json!({"anyOf": vec![json!({"$ref": format!("#/$defs/d{}", n + 1)}); 2]})))
            .collect();
        let schema = json!({"properties": {"a": {"$id": "x", "$defs": definitions, "$ref": "#/$defs/d0"}}});
        assert_eq!(fault(&schema), SchemaFault::TooManyReferences);
    }

    #[test]
    fn a_definition_counts_as_often_as_it_is_used_and_a_recursion_once() {
        let twice = json!({"$defs": {"n": true}, "items": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]});
        let screened = screen(&twice).unwrap();
        assert_eq!((screened.places, screened.is_recursive), (10, false));
        let tree = json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}});
        let screened = screen(&tree).unwrap();
        assert_eq!((screened.places, screened.is_recursive), (6, true));
    }
}
