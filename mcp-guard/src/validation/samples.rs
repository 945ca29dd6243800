//! Arbitrary JSON and schemas for the properties in this folder.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Any JSON of some depth.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[a-c/~$#\u{e9}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec(("[a-c]{1,2}", inner), 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// What looks like a schema, whether it is one or not.
pub(super) fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any_json(),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec!["string", "number", "integer", "object", "array", "null", "nonsense"])
            .prop_map(|name| json!({"type": name})),
        prop::sample::select(vec!["#", "#/$defs/a", "#/properties/a", "#/none", "#a", "http://x/y", "::", ""])
            .prop_map(|to| json!({"$ref": to})),
        "[a-z(\\[{*+?^$|\\\\1-9]{0,8}".prop_map(|pattern| json!({"pattern": pattern})),
        (any::<i64>(), any::<u8>()).prop_map(|(a, b)| json!({"minimum": a, "maxLength": b, "minItems": a})),
        any_json().prop_map(|value| json!({"const": value, "enum": [value]})),
        any_json().prop_map(|value| json!({"required": value, "multipleOf": value, "$schema": value, "$id": value})),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let some = vec(inner.clone(), 1..4);
        prop_oneof![
            vec(("[a-c]{1,2}", inner.clone()), 0..4).prop_map(|members| {
                let members = Value::Object(members.into_iter().collect());
                json!({"type": "object", "properties": members, "$defs": members, "required": ["a"]})
            }),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| json!({"items": a, "additionalProperties": b, "unevaluatedProperties": false})),
            (prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]), some)
                .prop_map(|(word, schemas)| json!({word: schemas})),
            (inner.clone(), inner).prop_map(|(a, b)| json!({"not": a, "if": b, "contains": a, "propertyNames": b})),
        ]
    })
}
