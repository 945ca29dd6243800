//! Arguments fit a schema where `boon`, another's validator, says so too: what is asked is `ToolSchema`'s verdict, not its words.
//!
//! | not made here | since |
//! | --- | --- |
//! | `format`, `contentEncoding`, `contentMediaType` | the guard asserts no format, and of draft-07 validators may do either |
//! | references in a circle, with no part of the value between them | what they mean is not defined (2020-12, section 9.4.1) |
//! | `multipleOf` of what a double does not hold, as 0.1 | both count in doubles, and round in their own ways |
//! | numbers beyond 2^53 | as above |
//! | references to other documents | the guard fetches nothing |

use boon::{Compiler, Draft, Schemas};
use mcp_guard::json::Tape;
use mcp_guard::limits::JSON_DEPTH_MAX;
use mcp_guard::validation::{ToolSchema, VIOLATIONS_MAX};
use serde_json::{Map, Value, json};

const NAMES: [&str; 6] = ["a", "b", "c", "x-1", "", "ä"];
const TEXTS: [&str; 12] = ["", "a", "b", "ab", "abc", "x-1", "1", "٣", "😀", "ä", "a b", "cab"];
const PATTERNS: [&str; 10] = ["^a", "b$", "^[a-c]+$", r"\d", r"^\w$", "^.$", "^x-", r"^\S*$", "(?:a|ä)", r"^\u0061"];
const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];

/// The deepest schema, and the deepest value.
const DEPTH_MAX: usize = 5;

/// How many values are tried: to compile a schema takes much longer than to ask it.
const VALUES_MAX: usize = 16;

/// Bytes as choices. When they are used up, the first is chosen each time.
struct Dice<'a> {
    bytes: std::slice::Iter<'a, u8>,
    is_draft_07: bool,
}

/// Takes the first byte as the draft, and the rest as choices: of a schema, then of values that nearly fit it.
pub(crate) fn check(data: &[u8]) {
    let Some((draft, choices)) = data.split_first() else { return };
    let mut dice = Dice { bytes: choices.iter(), is_draft_07: draft % 2 == 1 };
    let schema = dice.document();
    let text = schema.to_string();
    let ours = match ToolSchema::compile(&text) {
        Ok(schema) => schema,
        Err(fault) => return assert!(BOUNDS.contains(&fault.label()), "{fault} of {text}"),
    };
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V2020_12);
    let theirs = if dice.is_draft_07 { without_neighbours(&schema) } else { schema.clone() };
    compiler.add_resource(PLACE, theirs).expect("a document");
    let mut schemas = Schemas::new();
    let theirs = compiler.compile(PLACE, &mut schemas).unwrap_or_else(|error| panic!("{error:#}: {text}"));
    for _ in 0..VALUES_MAX {
        let value = dice.value(&schema, &schema, 0);
        let mut told = value.to_string();
        // Names and texts that are no longer in the message as such.
        if dice.roll(2) == 1 {
            told = told.replace('ä', "\\u00e4").replace('b', "\\u0062");
        }
        let tape = Tape::read(&told, JSON_DEPTH_MAX).expect("JSON");
        let violations = ours.check(tape.root(&told));
        let second = schemas.validate(&value, theirs);
        assert!(violations.len() <= VIOLATIONS_MAX);
        match second {
            Ok(()) => assert!(violations.is_empty(), "{violations:?}, but it fits: {told} by {text}"),
            Err(error) => assert!(!violations.is_empty(), "it fits, but {error:#}: {told} by {text}"),
        }
        if dice.bytes.len() == 0 {
            return;
        }
    }
}

/// The same without what stands beside a reference. Draft-07 ignores it (section 8.3); boon 0.6.1 does so only with what
/// draft-04 has, not with `const`, `contains`, `propertyNames` and `if`.
fn without_neighbours(schema: &Value) -> Value {
    match schema {
        Value::Object(members) => {
            let is_reference = members.get("$ref").is_some_and(Value::is_string);
            let is_kept = |name: &str| !is_reference || ["$ref", "$schema", "definitions"].contains(&name);
            let kept = members.iter().filter(|(name, _)| is_kept(name));
            kept.map(|(name, value)| (name.clone(), without_neighbours(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(without_neighbours).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}

const PLACE: &str = "http://schema.example/tool.json";

/// What the guard does without.
const BOUNDS: [&str; 3] = ["too_deep", "too_many_patterns", "too_many_references"];

impl Dice<'_> {
    fn roll(&mut self, sides: usize) -> usize {
        self.bytes.next().map_or(0, |byte| usize::from(*byte) % sides)
    }

    fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    /// A schema with two definitions, of which the second is known by a name too.
    fn document(&mut self) -> Value {
        let (mut root, first, mut second) = (self.object(0, 1), self.schema(2, 2), self.object(2, 3));
        let under = if self.is_draft_07 { "definitions" } else { "$defs" };
        if !self.is_draft_07 {
            second.insert("$anchor".into(), json!("second"));
            second.insert("$dynamicAnchor".into(), json!("moving"));
        }
        if self.is_draft_07 {
            root.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
        }
        root.insert(under.into(), json!({"first": first, "second": second}));
        root.into()
    }

    /// A schema at some depth. It may refer to the root (0), or to one of the definitions (1 and 2), but to none before `from`:
    /// only where it is about a part of the value may it refer to what it is in.
    fn schema(&mut self, depth: usize, from: usize) -> Value {
        match self.roll(8) {
            0 => json!(true),
            1 if self.roll(3) == 0 => json!(false),
            _ if depth >= DEPTH_MAX => json!({"type": self.one_of(&TYPES)}),
            _ => self.object(depth, from).into(),
        }
    }

    fn object(&mut self, depth: usize, from: usize) -> Map<String, Value> {
        let mut schema = Map::new();
        for _ in 0..self.roll(4) + 1 {
            let (keyword, value) = self.keyword(depth, from);
            schema.insert(keyword.into(), value);
            // Such as do something only together.
            if keyword == "if" {
                schema.insert("then".into(), self.schema(depth + 1, from));
                schema.insert("else".into(), self.schema(depth + 1, from));
            }
            if keyword == "contains" && !self.is_draft_07 {
                let counts = [("minContains", self.roll(4)), ("maxContains", self.roll(4))];
                schema.extend(counts.into_iter().filter(|(_, n)| *n < 3).map(|(name, n)| (name.into(), json!(n))));
            }
        }
        schema
    }

    fn keyword(&mut self, depth: usize, from: usize) -> (&'static str, Value) {
        let below = |dice: &mut Self| dice.schema(depth + 1, 0);
        let beside = |dice: &mut Self| dice.schema(depth + 1, from);
        match self.roll(36) {
            0 | 1 => ("type", json!(self.one_of(&TYPES))),
            2 => ("type", json!(["null", self.one_of(&TYPES[..6])])),
            3 => ("const", self.scalar()),
            4 => ("enum", json!([self.scalar(), [self.scalar()], {"a": self.scalar()}])),
            5 => ("minimum", self.number()),
            6 => ("maximum", self.number()),
            7 => ("exclusiveMinimum", self.number()),
            8 => ("exclusiveMaximum", self.number()),
            9 => ("multipleOf", self.one_of(&[1.0, 2.0, 0.5, 3.0, 0.25]).into()),
            10 => ("minLength", self.roll(4).into()),
            11 => ("maxLength", self.roll(4).into()),
            12 => ("pattern", json!(self.one_of(&PATTERNS))),
            13 => ("minItems", self.roll(4).into()),
            14 => ("maxItems", self.roll(4).into()),
            15 => ("uniqueItems", json!(self.roll(4) != 0)),
            16 => ("contains", below(self)),
            17 => ("minProperties", self.roll(4).into()),
            18 => ("maxProperties", self.roll(4).into()),
            19 => ("required", json!([self.one_of(&NAMES)])),
            20 | 21 => ("properties", self.of_names(&NAMES, below)),
            22 => ("patternProperties", self.of_names(&PATTERNS, below)),
            23 => ("additionalProperties", below(self)),
            24 => ("propertyNames", beside(self)),
            25 => ("allOf", self.several(beside)),
            26 => ("anyOf", self.several(beside)),
            27 => ("oneOf", self.several(beside)),
            28 => ("not", beside(self)),
            29 => ("if", beside(self)),
            30 if from <= 2 => ("$ref", self.reference(from)),
            30 => ("$comment", json!("no reference")),
            _ if self.is_draft_07 => match self.roll(5) {
                0 => ("items", self.several(below)),
                1 => ("items", below(self)),
                2 => ("additionalItems", below(self)),
                3 => ("dependencies", self.of_names(&NAMES, beside)),
                _ => ("dependencies", self.of_names(&NAMES, |dice| json!([dice.one_of(&NAMES)]))),
            },
            _ => match self.roll(7) {
                0 => ("prefixItems", self.several(below)),
                1 => ("items", below(self)),
                2 => ("unevaluatedItems", below(self)),
                3 => ("unevaluatedProperties", below(self)),
                4 => ("dependentSchemas", self.of_names(&NAMES, beside)),
                5 => ("dependentRequired", self.of_names(&NAMES, |dice| json!([dice.one_of(&NAMES)]))),
                _ if from <= 2 => ("$dynamicRef", json!("#moving")),
                _ => ("title", json!("no reference")),
            },
        }
    }

    fn several(&mut self, mut one: impl FnMut(&mut Self) -> Value) -> Value {
        (0..self.roll(3) + 1).map(|_| one(self)).collect()
    }

    fn of_names(&mut self, names: &[&str], mut one: impl FnMut(&mut Self) -> Value) -> Value {
        let count = self.roll(3) + 1;
        (0..count).map(|_| (self.one_of(names).to_owned(), one(self))).collect::<Map<_, _>>().into()
    }

    fn reference(&mut self, from: usize) -> Value {
        let [first, second] = if self.is_draft_07 {
            ["#/definitions/first", "#/definitions/second"]
        } else {
            ["#/$defs/first", self.one_of(&["#/$defs/second", "#second"])]
        };
        json!(self.one_of(&["#", first, second][from..]))
    }

    fn scalar(&mut self) -> Value {
        match self.roll(6) {
            0 => Value::Null,
            1 => json!(self.roll(2) == 0),
            2 | 3 => self.number(),
            _ => json!(self.one_of(&TEXTS)),
        }
    }

    fn number(&mut self) -> Value {
        match self.roll(12) {
            0 => json!(1.0),
            1 => json!(1.5),
            2 => json!(-0.0),
            3 => json!(0.25),
            4 => json!(100.0),
            5 => json!(1_i64 << 53),
            6 => json!(-1.0),
            number => json!(number as i64 - 8),
        }
    }

    /// A value that nearly fits: what each rule asks for is there more often than not.
    fn value(&mut self, schema: &Value, root: &Value, depth: usize) -> Value {
        let Some(rules) = schema.as_object().filter(|_| self.roll(8) != 7 && depth < DEPTH_MAX) else {
            return self.any(depth);
        };
        if let Some(chosen) = rules.get("const").or_else(|| rules.get("enum")?.get(self.roll(3))) {
            return chosen.clone();
        }
        let followed =
            ["$ref", "$dynamicRef"].iter().find_map(|key| rules.get(*key)?.as_str()).and_then(|to| match to {
                "#moving" | "#second" => root.pointer("/$defs/second"),
                _ => root.pointer(&to[1..]),
            });
        let forms = ["allOf", "anyOf", "oneOf"].iter().find_map(|key| rules.get(*key)?.as_array());
        let other = followed.or_else(|| forms.and_then(|forms| forms.get(self.roll(forms.len())))).or(rules.get("if"));
        if let Some(other) = other.filter(|_| self.roll(3) != 2) {
            return self.value(other, root, depth + 1);
        }
        let kind = match rules.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(kinds) => kinds[self.roll(2)].as_str().expect("a type"),
            None if rules.keys().any(|rule| rule.contains("tems") || rule.contains("ontains")) => "array",
            None if rules
                .keys()
                .any(|rule| rule.contains("ropert") || rule.contains("epend") || rule == "required") =>
            {
                "object"
            }
            None => self.one_of(&TYPES),
        };
        match kind {
            "object" => self.members(rules, root, depth),
            "array" => self.items(rules, root, depth),
            "string" => json!(self.one_of(&TEXTS)),
            "number" | "integer" => self.number(),
            "boolean" => json!(self.roll(2) == 0),
            _ => Value::Null,
        }
    }

    fn members(&mut self, rules: &Map<String, Value>, root: &Value, depth: usize) -> Value {
        let mut members = Map::new();
        let named = rules.get("properties").and_then(Value::as_object);
        for (name, schema) in named.into_iter().flatten() {
            if self.roll(4) != 3 {
                members.insert(name.clone(), self.value(schema, root, depth + 1));
            }
        }
        let required = rules.get("required").and_then(|names| names[0].as_str()).filter(|_| self.roll(4) != 3);
        let further: Vec<&str> = (0..self.roll(3)).map(|_| self.one_of(&NAMES)).collect();
        let rest = rules.get("additionalProperties").or(rules.get("unevaluatedProperties"));
        let rest = rest.or(rules.get("patternProperties").and_then(|patterns| patterns.as_object()?.values().next()));
        for name in required.into_iter().chain(further) {
            if !members.contains_key(name) {
                let value = self.value(rest.unwrap_or(&Value::Null), root, depth + 1);
                members.insert(name.to_owned(), value);
            }
        }
        members.into()
    }

    fn items(&mut self, rules: &Map<String, Value>, root: &Value, depth: usize) -> Value {
        let first = rules.get("prefixItems").or(rules.get("items")).and_then(Value::as_array);
        let rest = ["items", "contains", "additionalItems", "unevaluatedItems"].map(|rule| rules.get(rule));
        let rest: Vec<&Value> = rest.into_iter().flatten().filter(|rule| !rule.is_array()).collect();
        let mut items = Vec::new();
        for at in 0..self.roll(5) {
            let schema =
                first.and_then(|first| first.get(at)).or_else(|| rest.get(self.roll(rest.len().max(1))).copied());
            items.push(match items.last() {
                Some(before) if self.roll(6) == 5 => Value::clone(before),
                _ => self.value(schema.unwrap_or(&Value::Null), root, depth + 1),
            });
        }
        items.into()
    }

    fn any(&mut self, depth: usize) -> Value {
        match self.roll(8) {
            0 if depth < DEPTH_MAX => json!([self.scalar(), self.scalar()]),
            1 if depth < DEPTH_MAX => json!({"a": self.scalar(), "b": self.scalar()}),
            2 => json!({}),
            3 => json!([]),
            _ => self.scalar(),
        }
    }
}
