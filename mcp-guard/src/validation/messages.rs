//! What a client may send: every request and notification of every revision, each by its own schema.
//!
//! The parts are in `schemas/messages.json`, the table that puts them together is here. `tests/official_schemas.rs`
//! compares the verdicts with those of the official schemas. What a client *answers* to a server's requests
//! (roots, sampling, elicitation) is not checked.
//!
//! `format` is not asserted: the official schemas say `uri` in places, but every SDK takes any text there.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use foldhash::fast::RandomState;
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};
use thiserror::Error;

use super::violation::Violation;
use crate::call::{Kind, Method};
use crate::json::{Json, Kind as JsonKind, TapeJson, TapeNode};
use crate::revision::Revision::{self, *};

/// Why the guard does not forward a message.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the two answers that JSON-RPC has for this: -32601 and -32602")]
pub enum MessageFault {
    /// MCP has the method, but not in this revision, or not as a request.
    #[error("this revision has no such method")]
    UnknownMethod,
    /// The parameters break the method's schema; the pointer starts at the message.
    #[error("{0}")]
    ParamsInvalid(Violation),
}

/// The schemas of all methods, each compiled when it is first needed (about 1 ms).
#[derive(Debug)]
pub struct MessageSchemas {
    by_revision: [HashMap<&'static str, Entry, RandomState>; Revision::ALL.len()],
    strange_requests: [Entry; Revision::ALL.len()],
    strange_notifications: [Entry; Revision::ALL.len()],
}

impl MessageSchemas {
    /// The ones that the whole program shares.
    pub fn get() -> &'static Self {
        static SHARED: LazyLock<MessageSchemas> = LazyLock::new(MessageSchemas::new);
        &SHARED
    }

    fn new() -> Self {
        let rows = |revision| ROWS.iter().filter(move |row| row.since <= revision && revision <= row.until);
        Self {
            by_revision: Revision::ALL
                .map(|revision| rows(revision).map(|row| (row.method, Entry::of_row(row, revision))).collect()),
            strange_requests: Revision::ALL.map(|revision| Entry::of_stranger(revision, "request")),
            strange_notifications: Revision::ALL.map(|revision| Entry::of_stranger(revision, "notification")),
        }
    }

    /// Checks the `params` of one message; `None` where it has none.
    ///
    /// A method that MCP does not know, and a notification that this revision does not know, is the node's to judge:
    /// extensions have such names. All that is asked of it is what MCP asks of every message of the revision: that
    /// `params`, if there are any, is an object, and up to 2025-06-18 that its `_meta` is one. A notification with the name of a request is held to the schema of that request,
    /// for a node may look at nothing but the name. What is neither request nor notification always passes.
    ///
    /// # Errors
    ///
    /// [`MessageFault::UnknownMethod`] for a request that MCP has only in other revisions, or only as a notification;
    /// [`MessageFault::ParamsInvalid`] with the first violation otherwise.
    pub fn check(
        &self,
        revision: Revision,
        kind: Kind,
        method: &str,
        params: Option<Json<'_>>,
    ) -> Result<(), MessageFault> {
        let (is_request, strangers) = match kind {
            Kind::Request => (true, &self.strange_requests),
            Kind::Notification => (false, &self.strange_notifications),
            Kind::Response | Kind::Listen | Kind::End => return Ok(()),
        };
        let entry = match self.entry(revision, method) {
            Some(entry) if is_request && entry.is_notification => return Err(MessageFault::UnknownMethod),
            Some(entry) => Some(entry),
            None if is_request && ROWS.iter().any(|row| row.method == method) => {
                return Err(MessageFault::UnknownMethod);
            }
            None => strangers.get(revision as usize),
        };
        entry.map_or(Ok(()), |entry| entry.check(params)).map_err(MessageFault::ParamsInvalid)
    }

    fn entry(&self, revision: Revision, method: &str) -> Option<&Entry> {
        self.by_revision.get(revision as usize)?.get(method)
    }
}

/// Whether MCP lets `method` come without `params` in `revision`; `false` for what it does not know.
pub fn params_may_be_absent(revision: Revision, method: &str) -> bool {
    MessageSchemas::get().entry(revision, method).is_some_and(|entry| !entry.params_required)
}

/// One method in one revision.
#[derive(Debug)]
struct Entry {
    is_notification: bool,
    params_required: bool,
    /// A [`plain call`](is_plain_call) passes.
    passes_plain_calls: bool,
    parts: Vec<&'static str>,
    validator: OnceLock<Validator<TapeJson>>,
}

impl Entry {
    fn of_row(row: &Row, revision: Revision) -> Self {
        let is_notification = row.method.starts_with("notifications/");
        // 2025-11-25 forgot `_meta` in the schemas of three task methods; in 2026-07-28 they are an extension.
        let envelope = match (is_notification, revision.is_stateless()) {
            (false, _) if row.method.starts_with("tasks/") && row.method != Method::TASKS_LIST => "params",
            (false, true) if row.method.starts_with("tasks/") => "request",
            (false, true) => "stateless-request",
            (false, false) => "request",
            (true, true) => "stateless-notification",
            (true, false) => "notification",
        };
        let parts = std::iter::once(envelope).chain(row.parts.iter().copied()).collect();
        let params_required = row.params == Params::Required;
        let passes_plain_calls = row.method == Method::TOOLS_CALL && !revision.is_stateless();
        Self { is_notification, params_required, passes_plain_calls, parts, validator: OnceLock::new() }
    }

    /// What is asked of a message whose method is not MCP's; from 2025-11-25 on `_meta` is the method's own affair.
    fn of_stranger(revision: Revision, envelope: &'static str) -> Self {
        let parts = vec![if revision < V2025_11_25 { envelope } else { "params" }];
        Self {
            is_notification: false,
            params_required: false,
            passes_plain_calls: false,
            parts,
            validator: OnceLock::new(),
        }
    }

    fn check(&self, params: Option<Json<'_>>) -> Result<(), Violation> {
        let Some(params) = params else {
            return if self.params_required {
                Err(Violation::new("", "required", "property \"params\""))
            } else {
                Ok(())
            };
        };
        if self.passes_plain_calls && is_plain_call(params) {
            return Ok(());
        }
        let validator = self.validator.get_or_init(|| compile(&self.parts));
        let params = TapeNode::At(params);
        if validator.is_valid(params) {
            return Ok(());
        }
        // Costs no more than a second pass, whatever the size: the schemas have no branches to report on.
        validator.validate(params).map_err(|error| Violation::of(&error).under("/params"))
    }
}

/// Whether `params` are what nearly all calls of tools have: a name, arguments, and nothing else. Their schema says no more
/// about these, so it is not asked.
fn is_plain_call(params: Json<'_>) -> bool {
    let mut is_named = false;
    let mut members = params.members();
    members.all(|(name, value)| {
        let is_name = name.is_text("name");
        is_named |= is_name;
        value.kind() == if is_name { JsonKind::Text } else { JsonKind::Object }
            && (is_name || name.is_text("arguments"))
    }) && is_named
}

fn compile(parts: &[&str]) -> Validator<TapeJson> {
    static DEFINITIONS: LazyLock<Value> = LazyLock::new(definitions);
    let parts: Vec<_> = parts.iter().map(|part| json!({"$ref": format!("#/$defs/{part}")})).collect();
    let schema = json!({"allOf": parts, "$defs": *DEFINITIONS});
    let compiled = jsonschema::options_for::<TapeJson>()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(false)
        .offline()
        .build(&schema);
    #[expect(clippy::expect_used, reason = "the schemas are part of the program, and a test compiles every one")]
    compiled.expect("the guard's own schema compiles")
}

fn definitions() -> Value {
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    let mut file: Value =
        serde_json::from_str(include_str!("schemas/messages.json")).expect("the guard's own schemas are JSON");
    file.get_mut("$defs").map(Value::take).unwrap_or_default()
}

/// One method with one shape of params, and the revisions that have it so.
struct Row {
    method: &'static str,
    since: Revision,
    until: Revision,
    params: Params,
    parts: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq)]
enum Params {
    Required,
    Optional,
}

const fn row(
    method: &'static str,
    since: Revision,
    until: Revision,
    params: Params,
    parts: &'static [&'static str],
) -> Row {
    Row { method, since, until, params, parts }
}

use Params::{Optional, Required};

/// Every method that a client may send. To the parts comes what all requests, or all notifications, share.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    row(Method::INITIALIZE,               V2024_11_05, V2025_03_26, Required, &["initialize"]),
    row(Method::INITIALIZE,               V2025_06_18, V2025_06_18, Required, &["initialize", "initialize-2025-06-18"]),
    row(Method::INITIALIZE,               V2025_11_25, V2025_11_25, Required, &["initialize", "initialize-2025-06-18", "initialize-2025-11-25"]),
    row(Method::PING,                     V2024_11_05, V2025_11_25, Optional, &[]),
    row(Method::TOOLS_LIST,               V2024_11_05, V2025_11_25, Optional, &["page"]),
    row(Method::TOOLS_LIST,               V2026_07_28, V2026_07_28, Required, &["page"]),
    row(Method::TOOLS_CALL,               V2024_11_05, V2025_06_18, Required, &["call"]),
    row(Method::TOOLS_CALL,               V2025_11_25, V2025_11_25, Required, &["call", "call-as-task"]),
    row(Method::TOOLS_CALL,               V2026_07_28, V2026_07_28, Required, &["call", "rounds"]),
    row(Method::RESOURCES_LIST,           V2024_11_05, V2025_11_25, Optional, &["page"]),
    row(Method::RESOURCES_LIST,           V2026_07_28, V2026_07_28, Required, &["page"]),
    row(Method::RESOURCES_TEMPLATES_LIST, V2024_11_05, V2025_11_25, Optional, &["page"]),
    row(Method::RESOURCES_TEMPLATES_LIST, V2026_07_28, V2026_07_28, Required, &["page"]),
    row(Method::RESOURCES_READ,           V2024_11_05, V2025_11_25, Required, &["resource"]),
    row(Method::RESOURCES_READ,           V2026_07_28, V2026_07_28, Required, &["resource", "rounds"]),
    row(Method::RESOURCES_SUBSCRIBE,      V2024_11_05, V2025_11_25, Required, &["resource"]),
    row(Method::RESOURCES_UNSUBSCRIBE,    V2024_11_05, V2025_11_25, Required, &["resource"]),
    row(Method::PROMPTS_LIST,             V2024_11_05, V2025_11_25, Optional, &["page"]),
    row(Method::PROMPTS_LIST,             V2026_07_28, V2026_07_28, Required, &["page"]),
    row(Method::PROMPTS_GET,              V2024_11_05, V2025_11_25, Required, &["prompt"]),
    row(Method::PROMPTS_GET,              V2026_07_28, V2026_07_28, Required, &["prompt", "rounds"]),
    row(Method::COMPLETION_COMPLETE,      V2024_11_05, V2025_03_26, Required, &["complete"]),
    row(Method::COMPLETION_COMPLETE,      V2025_06_18, V2026_07_28, Required, &["complete", "complete-2025-06-18"]),
    row(Method::LOGGING_SET_LEVEL,        V2024_11_05, V2025_11_25, Required, &["log-level"]),
    // An extension from 2026-07-28 on (SEP-2663), with tasks/update; result and list are left to the node to refuse.
    row(Method::TASKS_GET,                V2025_11_25, V2026_07_28, Required, &["task-id"]),
    row(Method::TASKS_RESULT,             V2025_11_25, V2026_07_28, Required, &["task-id"]),
    row(Method::TASKS_CANCEL,             V2025_11_25, V2026_07_28, Required, &["task-id"]),
    row("tasks/update",                   V2026_07_28, V2026_07_28, Required, &["task-id"]),
    row(Method::TASKS_LIST,               V2025_11_25, V2026_07_28, Optional, &["page"]),
    row(Method::SERVER_DISCOVER,          V2026_07_28, V2026_07_28, Required, &[]),
    row(Method::SUBSCRIPTIONS_LISTEN,     V2026_07_28, V2026_07_28, Required, &["listen"]),
    row(Method::INITIALIZED,              V2024_11_05, V2025_11_25, Optional, &[]),
    row(Method::CANCELLED,                V2024_11_05, V2025_06_18, Required, &["cancelled", "cancelled-id"]),
    row(Method::CANCELLED,                V2025_11_25, V2025_11_25, Required, &["cancelled"]),
    row(Method::CANCELLED,                V2026_07_28, V2026_07_28, Required, &["cancelled", "cancelled-id"]),
    row(Method::PROGRESS,                 V2024_11_05, V2024_11_05, Required, &["progress"]),
    row(Method::PROGRESS,                 V2025_03_26, V2025_11_25, Required, &["progress", "progress-2025-03-26"]),
    row(Method::ROOTS_LIST_CHANGED,       V2024_11_05, V2025_11_25, Optional, &[]),
    row(Method::TASKS_STATUS,             V2025_11_25, V2025_11_25, Required, &["task-status"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Tape;
    use crate::limits::JSON_DEPTH_MAX;

    fn check(revision: Revision, kind: Kind, method: &str, params: Value) -> Result<(), MessageFault> {
        let text = params.to_string();
        let tape = Tape::read(&text, JSON_DEPTH_MAX).unwrap();
        MessageSchemas::get().check(revision, kind, method, Some(tape.root(&text)))
    }

    #[test]
    fn every_schema_compiles() {
        let schemas = MessageSchemas::new();
        let strangers = schemas.strange_requests.iter().chain(&schemas.strange_notifications);
        for entry in schemas.by_revision.iter().flat_map(HashMap::values).chain(strangers) {
            compile(&entry.parts);
        }
    }

    #[test]
    fn a_plain_call_passes_where_its_schema_lets_it_pass() {
        for (params, is_plain) in [
            (json!({"name": "x"}), true),
            (json!({"arguments": {"name": 7}, "name": "x"}), true),
            (json!({}), false),
            (json!({"arguments": {}}), false),
            (json!({"name": 7}), false),
            (json!({"name": "x", "arguments": []}), false),
            (json!({"name": "x", "_meta": {}}), false),
        ] {
            let text = params.to_string();
            let tape = Tape::read(&text, JSON_DEPTH_MAX).unwrap();
            let root = tape.root(&text);
            assert_eq!(is_plain_call(root), is_plain, "{text}");
            for revision in Revision::ALL {
                let entry = MessageSchemas::get().entry(revision, Method::TOOLS_CALL).unwrap();
                let by_schema = compile(&entry.parts).is_valid(TapeNode::At(root));
                assert_eq!(entry.check(Some(root)).is_ok(), by_schema, "{text} in {revision}");
            }
        }
    }

    #[test]
    fn a_violation_points_into_the_message() {
        let fault = check(V2025_11_25, Kind::Request, "tools/call", json!({"name": "x", "arguments": 7})).unwrap_err();
        assert_eq!(fault.to_string(), "at /params/arguments: type: object");
        let fault = MessageSchemas::get().check(V2025_11_25, Kind::Request, "tools/call", None).unwrap_err();
        assert_eq!(fault.to_string(), "at the top: required: property \"params\"");
    }

    #[test]
    fn a_method_of_another_revision_is_unknown() {
        let unknown = Err(MessageFault::UnknownMethod);
        for (revision, method) in [
            (V2026_07_28, "initialize"),
            (V2026_07_28, "ping"),
            (V2026_07_28, "resources/subscribe"),
            (V2025_06_18, "tasks/get"),
            (V2025_11_25, "server/discover"),
            (V2025_11_25, "notifications/initialized"),
        ] {
            assert_eq!(check(revision, Kind::Request, method, json!({})), unknown, "{method} of {revision}");
        }
    }

    #[test]
    fn a_method_that_mcp_does_not_know_is_left_to_the_node_if_its_params_are_an_object() {
        for revision in Revision::ALL {
            for kind in [Kind::Request, Kind::Notification] {
                assert_eq!(check(revision, kind, "requests/cancel", json!({"id": 1})), Ok(()));
                assert_eq!(MessageSchemas::get().check(revision, kind, "x/y", None), Ok(()));
                assert!(check(revision, kind, "x/y", json!([1])).is_err());
            }
        }
    }

    #[test]
    fn a_notification_of_another_revision_passes() {
        assert_eq!(check(V2026_07_28, Kind::Notification, "notifications/initialized", json!({})), Ok(()));
    }

    #[test]
    fn a_notification_named_as_a_request_is_held_to_the_schema_of_the_request() {
        assert!(check(V2025_11_25, Kind::Notification, "tools/call", json!({})).is_err());
    }

    #[test]
    fn a_task_of_the_extension_needs_its_id() {
        assert_eq!(check(V2026_07_28, Kind::Request, "tasks/update", json!({"taskId": "t"})), Ok(()));
        assert!(check(V2026_07_28, Kind::Request, "tasks/update", json!({})).is_err());
    }

    #[test]
    fn absent_params_are_known_where_they_are_allowed() {
        assert!(params_may_be_absent(V2025_11_25, "tools/list"));
        assert!(!params_may_be_absent(V2025_11_25, "initialize"));
        assert!(!params_may_be_absent(V2026_07_28, "tools/list"));
        assert!(!params_may_be_absent(V2025_11_25, "x/y"));
    }

    #[test]
    fn the_deepest_json_that_may_be_configured_is_checked_without_running_out_of_stack() {
        for (innermost, accepted) in [(json!(1), true), (json!(null), false)] {
            let deep = (0..JSON_DEPTH_MAX - 8).fold(innermost, |inside, _| json!([inside]));
            let params = json!({"_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {"extensions": {"x": {"y": deep}}},
            }});
            assert_eq!(check(V2026_07_28, Kind::Request, "tools/list", params).is_ok(), accepted);
        }
    }
}
