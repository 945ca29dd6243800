//! From the text of a schema to something that checks, within bounds.

use std::sync::Arc;

use jsonschema::{PatternOptions, Retrieve, Uri, ValidationOptions, Validator};
use serde_json::Value;
use thiserror::Error;

use super::arguments;
use super::screen::{PATTERN_BYTES_MAX, PATTERNS_MAX, PLACES_MAX, SCHEMA_DEPTH_MAX, Screened, screen};
use super::violation::Violation;
use crate::json::{Json, TapeJson};

/// The largest program of one regular expression in bytes: enough for `.{1,1000}`.
const PATTERN_PROGRAM_BYTES_MAX: usize = 1 << 20;

/// The largest programs of all patterns of a schema together. Each may have an equal share, since there is no telling how large
/// one is before it is compiled; of 64 patterns that is still enough for `.{1,50}`. It bounds the time: see the bench `arguments`.
const PROGRAMS_BYTES_MAX: usize = 4 << 20;

/// How often a pattern with look-around may go back before a text counts as not matching.
const BACKTRACKS_MAX: usize = 10_000;

/// Why a schema is not used. Calls of its tool pass unchecked.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum SchemaFault {
    /// Its text is longer than the policy allows.
    #[error("its text is too long")]
    TooLarge,
    /// It is nested deeper than [`SCHEMA_DEPTH_MAX`].
    #[error("it is nested deeper than {SCHEMA_DEPTH_MAX}")]
    TooDeep,
    /// It has more than [`PATTERNS_MAX`] patterns, or one longer than [`PATTERN_BYTES_MAX`].
    #[error("it has more than {PATTERNS_MAX} patterns, or one longer than {PATTERN_BYTES_MAX} bytes")]
    TooManyPatterns,
    /// Its references, followed, lead to more than [`PLACES_MAX`] places, or too many cannot be followed.
    #[error("its references lead to more than {PLACES_MAX} places, or too many are no local pointers")]
    TooManyReferences,
    /// Compiling it took longer than the policy allows.
    #[error("it took too long to compile")]
    TooSlow,
    /// It is not a valid schema of its dialect, or refers to something outside of itself.
    #[error("it does not compile: `{keyword}` at {pointer}")]
    Invalid {
        /// Which rule of the dialect it breaks; `$ref` for a reference that leads nowhere.
        keyword: String,
        /// Where in the schema.
        pointer: String,
    },
}

impl SchemaFault {
    /// The value of the `reason` label of `tool_schemas_skipped_total`.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::TooManyPatterns => "too_many_patterns",
            Self::TooManyReferences => "too_many_references",
            Self::TooSlow => "too_slow",
            Self::Invalid { .. } => "invalid",
        }
    }
}

/// A schema that checks values: 2020-12 unless its `$schema` names another draft. `format` says nothing.
#[derive(Debug)]
pub struct ToolSchema {
    pub(super) validator: Validator<TapeJson>,
    pub(super) size: Screened,
}

impl ToolSchema {
    /// Compiles `text`. Nothing is fetched for it.
    ///
    /// # Errors
    ///
    /// [`SchemaFault`] for what does not compile, and for what could make compiling or checking run away.
    pub fn compile(text: &str) -> Result<Self, SchemaFault> {
        let value: Value = serde_json::from_str(text).map_err(|_| invalid("JSON", ""))?;
        let size = screen(&value)?;
        // Most patterns do without look-around, and then matching takes linear time.
        let program_bytes_max = PATTERN_PROGRAM_BYTES_MAX.min(PROGRAMS_BYTES_MAX / size.patterns.max(1));
        let linear = options().with_pattern_options(PatternOptions::regex().size_limit(program_bytes_max));
        let validator = linear.build(&value).or_else(|_| {
            let pattern = PatternOptions::fancy_regex().size_limit(program_bytes_max);
            options().with_pattern_options(pattern.backtrack_limit(BACKTRACKS_MAX)).build(&value)
        });
        let validator = validator.map_err(|error| invalid(error.kind().keyword(), error.instance_path().as_str()))?;
        Ok(Self { validator, size })
    }

    /// Where `value` breaks the schema: nothing if it does not, else one to
    /// [`VIOLATIONS_MAX`](super::VIOLATIONS_MAX) places.
    pub fn check(&self, value: Json<'_>) -> Vec<Violation> {
        arguments::check(self, value)
    }
}

fn options<'i>() -> ValidationOptions<'i, Arc<dyn Retrieve>, TapeJson> {
    jsonschema::options_for::<TapeJson>().with_retriever(NoRetriever).should_validate_formats(false)
}

fn invalid(keyword: &str, pointer: &str) -> SchemaFault {
    let short = |text: &str| text.chars().take(200).collect();
    SchemaFault::Invalid { keyword: short(keyword), pointer: short(pointer) }
}

/// Refuses every document that a schema refers to: a node must not make the guard fetch things.
struct NoRetriever;

impl Retrieve for NoRetriever {
    fn retrieve(&self, _: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        Err("the guard fetches no schemas".into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fits(schema: &str, value: &serde_json::Value) -> bool {
        let text = value.to_string();
        let tape = crate::json::Tape::read(&text, 64).unwrap();
        ToolSchema::compile(schema).unwrap().check(tape.root(&text)).is_empty()
    }

    fn fault(schema: &Value) -> SchemaFault {
        ToolSchema::compile(&schema.to_string()).unwrap_err()
    }

    #[test]
    fn a_schema_without_a_dialect_is_2020_12_and_one_may_name_draft_07() {
        assert!(!fits(r#"{"prefixItems": [{"type": "string"}]}"#, &serde_json::json!([1])));
        let draft_07 = r#"{"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]}"#;
        assert!(!fits(draft_07, &serde_json::json!([1])));
        assert!(fits(draft_07, &serde_json::json!(["a", 1])));
    }

    #[test]
    fn nothing_is_fetched() {
        for reference in ["http://127.0.0.1:1/schema.json", "file:///etc/passwd", "other.json"] {
            let fault = fault(&serde_json::json!({"properties": {"a": {"$ref": reference}}}));
            assert_eq!(fault.label(), "invalid", "{reference}");
        }
    }

    #[test]
    fn local_references_are_followed() {
        let schema = r##"{"$defs": {"n": {"type": "number"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}"##;
        assert!(!fits(schema, &serde_json::json!({"a": "x"})));
        assert!(!ToolSchema::compile(schema).unwrap().size.is_recursive);
    }

    #[test]
    fn a_recursive_schema_compiles_and_is_known_to_be_recursive() {
        let schema = r##"{"properties": {"next": {"$ref": "#"}}, "required": ["v"]}"##;
        assert!(!fits(schema, &serde_json::json!({"v": 1, "next": {}})));
        assert!(ToolSchema::compile(schema).unwrap().size.is_recursive);
    }

    #[test]
    fn a_pattern_with_a_huge_program_does_not_compile() {
        assert_eq!(fault(&serde_json::json!({"pattern": "(a{1000}){1000}"})).label(), "invalid");
    }

    #[test]
    fn the_patterns_of_a_schema_share_what_their_programs_may_take() {
        let many = |count: usize, pattern: &str| {
            serde_json::json!({"allOf": vec![serde_json::json!({"pattern": pattern}); count]}).to_string()
        };
        for (count, dots) in [(4, 1000), (64, 50)] {
            assert!(ToolSchema::compile(&many(count, &format!("^.{{1,{dots}}}$"))).is_ok(), "{count}");
        }
        assert!(ToolSchema::compile(&many(64, "^.{1,1000}$")).is_err());
    }

    #[test]
    fn look_around_is_understood() {
        assert!(!fits(r#"{"pattern": "^(?!x)"}"#, &serde_json::json!("xa")));
        assert!(fits(r#"{"pattern": "^(?!x)"}"#, &serde_json::json!("ax")));
    }

    proptest! {
        /// Whatever a node calls a schema, compiling it ends with an answer.
        #[test]
        fn no_schema_panics(schema in super::super::samples::any_schema()) {
            drop(ToolSchema::compile(&schema.to_string()));
        }
    }
}
