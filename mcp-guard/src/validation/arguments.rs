//! Whether a value fits a schema, and where it does not.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;

use super::compile::ToolSchema;
use super::violation::Violation;
use crate::json::{Json, TapeNode};

/// How many violations are told; more help no model to correct itself.
pub const VIOLATIONS_MAX: usize = 5;

/// How many pairs of a place in the schema and a place in the value may be looked at to say *where* they disagree.
///
/// *Whether* they agree always takes about linear time. But to say where, each form of an `anyOf` is tried and
/// explained, so that a recursive schema and a nested value could keep the guard busy without end.
const LOCATING_MAX: usize = 500_000;

/// How many forms of an `anyOf` are told.
const FORMS_MAX: usize = 4;

/// Where `value` breaks `schema`: nothing if it does not, else one to [`VIOLATIONS_MAX`] places.
pub(super) fn check(schema: &ToolSchema, value: Json<'_>) -> Vec<Violation> {
    let node = TapeNode::At(value);
    if schema.validator.is_valid(node) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    if !schema.size.is_recursive && schema.size.places.saturating_mul(weight(value)) <= LOCATING_MAX {
        violations.extend(schema.validator.iter_errors(node).take(VIOLATIONS_MAX).map(|error| explain(&error)));
    }
    if violations.is_empty() {
        violations.push(Violation::new("", "schema", "what the schema describes; it is not known where it differs"));
    }
    violations
}

/// As [`Violation::of`], but an `anyOf` says what its forms ask for: `Optional[str]` is one in most schemas.
fn explain(error: &ValidationError<'_>) -> Violation {
    let Some((rule, forms)) = forms(error.kind()) else {
        return Violation::of(error);
    };
    let here = error.instance_path().as_str();
    let mut asked = Vec::new();
    for form in forms.iter().take(FORMS_MAX).filter_map(|errors| errors.first()) {
        let inner = Violation::of(form);
        let place = inner.pointer().strip_prefix(here).unwrap_or_default().to_owned();
        let place = if place.is_empty() { place } else { format!(" at {place}") };
        asked.push(format!("{} {}{place}", inner.rule(), inner.allowed()));
    }
    Violation::new(here, rule, asked.join(", or "))
}

/// The rule and the errors of each form, if a value fits none of several.
fn forms(kind: &ValidationErrorKind) -> Option<(&'static str, &[Vec<ValidationError<'static>>])> {
    if let ValidationErrorKind::AnyOf { context } = kind {
        return Some(("anyOf", context));
    }
    if let ValidationErrorKind::OneOfNotValid { context } = kind { Some(("oneOf", context)) } else { None }
}

/// How many places `value` has; long texts count for more, since locating copies them.
fn weight(value: Json<'_>) -> usize {
    value.weight() + value.raw().len() / 256
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::compile::ToolSchema;
    use super::super::samples::{any_json, any_schema};
    use super::*;
    use crate::json::Tape;

    fn told(schema: &Value, value: &Value) -> Vec<String> {
        let (text, schema) = (value.to_string(), ToolSchema::compile(&schema.to_string()).unwrap());
        let tape = Tape::read(&text, 512).unwrap();
        check(&schema, tape.root(&text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_value_that_fits_breaks_nothing() {
        assert_eq!(told(&json!({"type": "object"}), &json!({"a": 1})), Vec::<String>::new());
    }

    #[test]
    fn several_violations_are_told_but_not_all() {
        let schema = json!({"additionalProperties": {"type": "string"}});
        let value: Value = (0..20).map(|n| (n.to_string(), json!(n))).collect::<serde_json::Map<_, _>>().into();
        let told = told(&schema, &value);
        assert_eq!(told.len(), VIOLATIONS_MAX);
        assert_eq!(told[0], "at /0: type: string");
    }

    #[test]
    fn an_optional_text_says_what_it_may_be() {
        let schema = json!({"properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}});
        assert_eq!(told(&schema, &json!({"a": 1})), ["at /a: anyOf: type string, or type null"]);
    }

    #[test]
    fn a_form_says_where_inside_of_it() {
        let form = json!({"properties": {"b": {"type": "string"}}});
        assert_eq!(
            told(&json!({"properties": {"a": {"anyOf": [form]}}}), &json!({"a": {"b": 1}})),
            ["at /a: anyOf: type string at /b"],
        );
    }

    /// A filter language: each form recurses into the same member. Explaining it would take 2^60 steps.
    #[test]
    fn a_recursive_schema_is_decided_but_not_located() {
        let form = |op: &str| json!({"type": "object", "properties": {"op": {"const": op}, "of": {"$ref": "#"}}});
        let schema = json!({"anyOf": [form("and"), form("or"), {"type": "number"}]});
        let value = (0..60).fold(json!("wrong"), |of, _| json!({"op": "and", "of": of}));
        assert_eq!(told(&schema, &value).len(), 1);
        assert!(told(&schema, &value)[0].starts_with("at the top: schema:"));
    }

    #[test]
    fn a_large_value_is_not_located() {
        let value = Value::Array((0..300_000).map(Value::from).collect());
        let told = told(&json!({"items": {"type": "string"}}), &value);
        assert!(told[0].starts_with("at the top: schema:"), "{told:?}");
    }

    proptest! {
        #[test]
        fn no_schema_and_no_value_panic_and_a_violation_never_shows_a_value(
            schema in any_schema(),
            value in any_json(),
        ) {
            if let Ok(compiled) = ToolSchema::compile(&schema.to_string()) {
                let text = value.to_string();
                let tape = Tape::read(&text, 512).unwrap();
                let violations = check(&compiled, tape.root(&text));
                // What is checked where it lies is judged as a copy of it is.
                let options = jsonschema::options().should_validate_formats(false).offline();
                if let Ok(of_copies) = options.build(&schema) {
                    prop_assert_eq!(violations.is_empty(), of_copies.is_valid(&value));
                }
                prop_assert!(violations.len() <= VIOLATIONS_MAX);
            }
        }
    }
}
