//! What the node sends: results, whether they fit, and word that its tools changed.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::compile::ToolSchema;
use super::violation::Violation;
use crate::call::Call;
use crate::json::{DEPTH_MAX, Tape};
use crate::refusal::Reason;

/// The longest message that is looked at for word of changed tools.
const NOTIFICATION_BYTES_MAX: usize = 16 << 10;

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

/// The result in `message`, if it is the answer to `call`.
pub(super) fn result_of<'a>(message: &'a [u8], call: &Call) -> Option<&'a str> {
    let message: Message<'a> = serde_json::from_slice(message).ok()?;
    let is_answer = message.method.is_none() && message.id.map(RawValue::get) == call.id.as_deref();
    message.result.filter(|_| is_answer).map(RawValue::get)
}

/// Whether `message` says that the tools changed. erlmcp leaves the `notifications/` out.
pub(super) fn is_list_changed(message: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(message) else { return false };
    // Nearly every message is something else, and finding that out must cost next to nothing.
    if text.len() > NOTIFICATION_BYTES_MAX || !text.contains("list_changed") {
        return false;
    }
    let method = serde_json::from_str::<Message<'_>>(text).ok().and_then(|message| message.method);
    method.is_some_and(|method| matches!(&*method, "notifications/tools/list_changed" | "tools/list_changed"))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolResult<'a> {
    #[serde(borrow, default)]
    structured_content: Option<&'a RawValue>,
    #[serde(default)]
    is_error: Option<bool>,
    #[serde(borrow, default)]
    result_type: Option<Cow<'a, str>>,
}

/// Where the `structuredContent` of a tool's result breaks `schema`; it must be there, unless the tool failed.
pub(super) fn check(result: &str, schema: &ToolSchema) -> Vec<Violation> {
    let Ok(result) = serde_json::from_str::<ToolResult<'_>>(result) else { return Vec::new() };
    let is_final = result.result_type.is_none_or(|kind| kind == "complete");
    if !is_final || result.is_error == Some(true) {
        return Vec::new();
    }
    match result.structured_content.map(|content| (content.get(), Tape::read(content.get(), DEPTH_MAX))) {
        Some((text, Ok(tape))) => schema.check(tape.root(text)),
        Some((_, Err(_))) => vec![Violation::new("", "json", format!("JSON of at most {DEPTH_MAX} levels"))],
        None => vec![Violation::new("", "required", "`structuredContent`, since the tool has an output schema")],
    }
}

/// What the client gets in place of a result with `violations`.
///
/// A tool result with `isError` from 2025-11-25 on, so that the model learns of it; an error before.
pub(super) fn replacement(call: &Call, violations: &[Violation]) -> Vec<u8> {
    let message = format!("the tool's result breaks its output schema: {}", told(violations));
    let data = json!({"guard": Reason::UpstreamFailed.as_str(), "violations": places(violations)});
    let id = call.id.as_deref().unwrap_or("null");
    let (member, value) = if call.revision.bad_arguments_are_results() {
        let mut result = json!({
            "content": [{"type": "text", "text": message}],
            "isError": true,
            "_meta": {"mcp-guard/refusal": data},
        });
        if let (true, Some(members)) = (call.revision.is_stateless(), result.as_object_mut()) {
            members.insert("resultType".into(), "complete".into());
        }
        ("result", result)
    } else {
        ("error", json!({"code": Reason::UpstreamFailed.code(), "message": message, "data": data}))
    };
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{member}\":{value}}}").into_bytes()
}

/// `violations` in one sentence.
pub(super) fn told(violations: &[Violation]) -> String {
    violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// `violations` for programs.
pub(super) fn places(violations: &[Violation]) -> Value {
    violations.iter().map(|violation| json!({"pointer": violation.pointer(), "rule": violation.rule()})).collect()
}

#[cfg(test)]
mod tests {
    use super::super::compile::ToolSchema;
    use super::*;
    use crate::call::{Kind, Method};
    use crate::revision::Revision;

    fn call(revision: Revision) -> Call {
        let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), revision);
        call.id = Some("\"7\"".into());
        call
    }

    #[test]
    fn only_the_answer_to_the_call_has_its_result() {
        let of = |message: &[u8]| result_of(message, &call(Revision::V2025_11_25)).map(str::to_owned);
        assert_eq!(of(br#"{"jsonrpc":"2.0","id":"7","result":{"a":1}}"#).as_deref(), Some("{\"a\":1}"));
        assert_eq!(of(br#"{"jsonrpc":"2.0","id":7,"result":{}}"#), None);
        assert_eq!(of(br#"{"jsonrpc":"2.0","id":"7","error":{}}"#), None);
        assert_eq!(of(br#"{"jsonrpc":"2.0","id":"7","method":"ping"}"#), None);
    }

    #[test]
    fn word_of_changed_tools_is_understood_with_and_without_its_prefix() {
        assert!(is_list_changed(br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#));
        assert!(is_list_changed(br#"{"method":"tools\/list_changed"}"#));
        assert!(!is_list_changed(br#"{"method":"notifications/prompts/list_changed"}"#));
        assert!(!is_list_changed(br#"{"result":{"text":"tools/list_changed"}}"#));
    }

    #[test]
    fn structured_content_must_fit_and_be_there_unless_the_tool_failed_or_asks_back() {
        let schema = ToolSchema::compile(r#"{"required": ["sum"]}"#).unwrap();
        let rules = |result: &str| check(result, &schema).iter().map(Violation::rule).collect::<Vec<_>>();
        assert!(rules(r#"{"structuredContent": {"sum": 1}}"#).is_empty());
        assert_eq!(rules(r#"{"structuredContent": {}}"#), ["required"]);
        assert_eq!(rules(r#"{"content": []}"#), ["required"]);
        assert!(rules(r#"{"content": [], "isError": true}"#).is_empty());
        assert!(rules(r#"{"resultType": "input_required"}"#).is_empty());
    }

    #[test]
    fn a_replaced_result_is_an_error_and_from_2025_11_25_on_a_tool_result() {
        let violations = [Violation::new("/sum", "type", "number")];
        let body = |revision| -> Value { serde_json::from_slice(&replacement(&call(revision), &violations)).unwrap() };
        let older = body(Revision::V2025_06_18);
        assert_eq!((&older["id"], &older["error"]["code"]), (&json!("7"), &json!(1067)));
        assert_eq!(older["error"]["data"]["violations"], json!([{"pointer": "/sum", "rule": "type"}]));
        let newer = body(Revision::V2025_11_25);
        assert_eq!(newer["result"]["isError"], true);
        assert_eq!(body(Revision::V2026_07_28)["result"]["resultType"], "complete");
    }
}
