//! Where a message breaks a schema, and what the schema allows there. Never what the message held.

use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};

/// The first place where a JSON value breaks a schema.
///
/// It is safe to log and to send: the pointer names the place by the message's own keys, bounded and without control
/// characters, and everything else comes from the schema.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    pointer: String,
    rule: &'static str,
    allowed: String,
}

/// The longest pointer in bytes; a longer one keeps its beginning. Keys are the client's, so they have to end somewhere.
pub const POINTER_BYTES_MAX: usize = 256;

/// The longest text in bytes of what is allowed. A schema may list thousands of values.
pub const ALLOWED_BYTES_MAX: usize = 256;

impl Violation {
    /// A violation of `rule`, a keyword of JSON Schema, at `pointer`; `allowed` is what the schema asks for there.
    pub fn new(pointer: &str, rule: &'static str, allowed: impl Into<String>) -> Self {
        Self {
            pointer: bounded(pointer, POINTER_BYTES_MAX),
            rule,
            allowed: bounded(&allowed.into(), ALLOWED_BYTES_MAX),
        }
    }

    /// What `error` says, without the value that it holds.
    pub fn of(error: &ValidationError<'_>) -> Self {
        let (rule, allowed) = schema_side(error.kind());
        Self::new(error.instance_path().as_str(), rule, allowed)
    }

    /// The same one seen from further out, where what was checked lies at `prefix`.
    #[must_use]
    pub fn under(self, prefix: &str) -> Self {
        Self { pointer: bounded(&format!("{prefix}{}", self.pointer), POINTER_BYTES_MAX), ..self }
    }

    /// JSON pointer (RFC 6901) into what was checked; empty for all of it. At most [`POINTER_BYTES_MAX`] bytes.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The keyword of JSON Schema that is broken.
    pub fn rule(&self) -> &'static str {
        self.rule
    }

    /// What the schema asks for: the name of the missing property, the type, the limit. At most [`ALLOWED_BYTES_MAX`] bytes.
    pub fn allowed(&self) -> &str {
        &self.allowed
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "the top" } else { &self.pointer };
        write!(f, "at {place}: {}: {}", self.rule, self.allowed)
    }
}

/// The keyword, and what the schema says with it.
fn schema_side(kind: &ValidationErrorKind) -> (&'static str, String) {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::AdditionalItems { limit } => ("additionalItems", format!("at most {limit} items")),
        Kind::AdditionalProperties { .. } => ("additionalProperties", "no properties but the listed ones".into()),
        Kind::AnyOf { context } => ("anyOf", format!("one of {} forms", context.len())),
        Kind::BacktrackLimitExceeded { .. } | Kind::RegexEngineFailure { .. } => {
            ("pattern", "text that the pattern can be tried on".into())
        }
        Kind::Constant { expected_value } => ("const", expected_value.to_string()),
        Kind::Contains => ("contains", "an item of the listed form".into()),
        Kind::ContentEncoding { content_encoding } => ("contentEncoding", content_encoding.clone()),
        Kind::ContentMediaType { content_media_type } => ("contentMediaType", content_media_type.clone()),
        Kind::Custom { .. } => ("custom", "what the schema's own keyword asks for".into()),
        Kind::Enum { options } => ("enum", format!("one of {options}")),
        Kind::ExclusiveMaximum { limit } => ("exclusiveMaximum", format!("less than {limit}")),
        Kind::ExclusiveMinimum { limit } => ("exclusiveMinimum", format!("more than {limit}")),
        Kind::FalseSchema => ("false", "nothing".into()),
        Kind::Format { format } => ("format", format.clone()),
        Kind::FromUtf8 { .. } => ("contentEncoding", "text in UTF-8".into()),
        Kind::MaxItems { limit } => ("maxItems", format!("at most {limit} items")),
        Kind::Maximum { limit } => ("maximum", format!("at most {limit}")),
        Kind::MaxLength { limit } => ("maxLength", format!("at most {limit} characters")),
        Kind::MaxProperties { limit } => ("maxProperties", format!("at most {limit} properties")),
        Kind::MinItems { limit } => ("minItems", format!("at least {limit} items")),
        Kind::Minimum { limit } => ("minimum", format!("at least {limit}")),
        Kind::MinLength { limit } => ("minLength", format!("at least {limit} characters")),
        Kind::MinProperties { limit } => ("minProperties", format!("at least {limit} properties")),
        Kind::MultipleOf { multiple_of } => ("multipleOf", format!("a multiple of {multiple_of}")),
        Kind::Not { .. } => ("not", "anything but the excluded form".into()),
        Kind::OneOfMultipleValid { context } | Kind::OneOfNotValid { context } => {
            ("oneOf", format!("exactly one of {} forms", context.len()))
        }
        Kind::Pattern { pattern } => ("pattern", pattern.clone()),
        Kind::PropertyNames { error } => {
            let (rule, allowed) = schema_side(error.kind());
            ("propertyNames", format!("names by {rule}: {allowed}"))
        }
        Kind::Required { property } => ("required", format!("property {property}")),
        Kind::Type { kind } => ("type", types(kind)),
        Kind::UnevaluatedItems { .. } => ("unevaluatedItems", "no items but the listed ones".into()),
        Kind::UnevaluatedProperties { .. } => ("unevaluatedProperties", "no properties but the listed ones".into()),
        Kind::UniqueItems => ("uniqueItems", "no item twice".into()),
        Kind::Referencing(_) => ("$ref", "a form that the schema does not hold".into()),
    }
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(several) => several.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(" or "),
    }
}

/// `text` without control characters, cut to `bytes_max` with a sign that it was cut.
fn bounded(text: &str, bytes_max: usize) -> String {
    const CUT: &str = "…";
    let mut out: String = text
        .chars()
        .take(bytes_max + 1)
        .map(|character| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character })
        .collect();
    if out.len() > bytes_max {
        out.truncate(out.floor_char_boundary(bytes_max - CUT.len()));
        out.push_str(CUT);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const SECRET: &str = "hunter2";

    fn violation(schema: &Value, instance: &Value) -> Violation {
        let validator = jsonschema::draft202012::new(schema).unwrap();
        Violation::of(&validator.validate(instance).unwrap_err())
    }

    #[test]
    fn the_pointer_leads_to_the_place_and_the_rule_is_the_keyword() {
        let schema = json!({"properties": {"a/b": {"items": {"required": ["name"]}}}});
        let found = violation(&schema, &json!({"a/b": [{"name": 1}, {}]}));
        assert_eq!((found.pointer(), found.rule()), ("/a~1b/1", "required"));
        assert_eq!(found.to_string(), "at /a~1b/1: required: property \"name\"");
        assert_eq!(found.under("/params").pointer(), "/params/a~1b/1");
    }

    #[test]
    fn a_violation_of_the_whole_says_so() {
        assert_eq!(violation(&json!({"type": "object"}), &json!([1])).to_string(), "at the top: type: object");
    }

    #[test]
    fn no_rule_shows_the_value() {
        let not_me = json!({"const": "other"});
        let schemas = [
            json!({"type": "number"}),
            json!({"type": ["number", "null"]}),
            not_me.clone(),
            json!({"enum": ["other", 2]}),
            json!({"maxLength": 1}),
            json!({"minLength": 100}),
            json!({"pattern": "^x"}),
            json!({"anyOf": [not_me]}),
            json!({"oneOf": [not_me]}),
            json!({"oneOf": [true, true]}),
            json!({"not": {"type": "string"}}),
            json!(false),
        ];
        let objects = [
            json!({"additionalProperties": false}),
            json!({"unevaluatedProperties": false}),
            json!({"propertyNames": {"maxLength": 1}}),
            json!({"maxProperties": 0}),
            json!({"dependentRequired": {"hunter2": ["other"]}}),
        ];
        let arrays = [
            json!({"maxItems": 1}),
            json!({"uniqueItems": true}),
            json!({"contains": {"const": 1}}),
            json!({"prefixItems": [true], "items": false}),
            json!({"unevaluatedItems": false}),
        ];
        let cases = schemas.iter().map(|schema| (schema, json!(SECRET)));
        let cases = cases.chain(objects.iter().map(|schema| (schema, json!({SECRET: SECRET}))));
        let cases = cases.chain(arrays.iter().map(|schema| (schema, json!([SECRET, SECRET]))));
        for (schema, instance) in cases {
            let shown = format!("{0} {0:?}", violation(schema, &instance));
            assert!(!shown.contains(SECRET), "{schema}: {shown}");
        }
    }

    #[test]
    fn a_pointer_made_of_hostile_keys_is_cut_and_cleaned() {
        let schema = json!({"additionalProperties": {"type": "number"}});
        let found = violation(&schema, &json!({format!("\n\u{1b}[31m{}", "é".repeat(10_000)): "x"}));
        assert!(found.pointer().len() <= POINTER_BYTES_MAX && found.pointer().ends_with('…'));
        assert!(!found.pointer().contains(char::is_control));
    }

    #[test]
    fn a_long_list_of_allowed_values_is_cut() {
        let options: Vec<_> = (0..10_000).collect();
        let found = violation(&json!({"enum": options}), &json!("x"));
        assert!(found.allowed().starts_with("one of [0,1,2") && found.allowed().len() <= ALLOWED_BYTES_MAX);
    }
}
