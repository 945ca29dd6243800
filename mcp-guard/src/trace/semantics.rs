//! How a call looks in a trace: OpenTelemetry's semantic conventions for MCP. Arguments and messages never do.

use std::borrow::Cow;

use opentelemetry::KeyValue;

use crate::call::{Call, Method};
use crate::outcome::Outcome;
use crate::refusal::Reason;

/// The longest name of a tool or prompt that a span shows: what 2025-11-25 allows a tool. A caller makes names up.
pub const NAME_BYTES_MAX: usize = 128;

/// The longest resource URI that a span shows; a longer one is left out.
pub const URI_BYTES_MAX: usize = 1024;

/// How much of the id of a session a span shows at most, which is what the log shows of the guard's own.
const HINT_BYTES_MAX: usize = 8;

/// What went wrong, as `error.type` and, where the answer has one, as the JSON-RPC code.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Failure {
    /// `error.type`: the code, `tool_error`, `timeout`, an HTTP status, or what became of the connection.
    pub kind: Cow<'static, str>,
    /// `rpc.response.status_code`.
    pub code: Option<i64>,
}

/// `{method} {tool or prompt}`. A method that MCP does not have is called `other`, so that names stay few.
pub fn span_name(call: &Call) -> Cow<'static, str> {
    match name_of_tool_or_prompt(call) {
        Some(name) => Cow::Owned(format!("{} {name}", call.method.label())),
        None => Cow::Borrowed(call.method.label()),
    }
}

fn name_of_tool_or_prompt(call: &Call) -> Option<&str> {
    let named = call.method.is(Method::TOOLS_CALL) || call.method.is(Method::PROMPTS_GET);
    call.target.as_deref().filter(|name| named && name.len() <= NAME_BYTES_MAX)
}

/// What is known of `call` before it is answered, for the span of either side.
pub fn attributes(call: &Call) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("mcp.method.name", call.method.as_str().to_owned()),
        KeyValue::new("mcp.protocol.version", call.revision.as_str()),
    ];
    let mut add = |key: &'static str, value: &str| attributes.push(KeyValue::new(key, value.to_owned()));
    if let Some(id) = call.id.as_deref().filter(|id| *id != "null") {
        let text: Option<String> = serde_json::from_str(id).ok();
        add("jsonrpc.request.id", text.as_deref().unwrap_or(id));
    }
    if let Some(session) = call.session.as_deref() {
        // A stateless revision has no sessions, whatever the header says.
        if !call.revision.is_stateless() && !hint(session).is_empty() {
            add("mcp.session.id", hint(session));
        }
    }
    match (name_of_tool_or_prompt(call), call.target.as_deref()) {
        (Some(tool), _) if call.method.is(Method::TOOLS_CALL) => {
            add("gen_ai.tool.name", tool);
            add("gen_ai.operation.name", "execute_tool");
        }
        (Some(prompt), _) => add("gen_ai.prompt.name", prompt),
        (None, Some(uri)) if is_about_a_resource(&call.method) && uri.len() <= URI_BYTES_MAX => {
            add("mcp.resource.uri", &without_secrets(uri));
        }
        (None, _) => {}
    }
    attributes
}

fn is_about_a_resource(method: &Method) -> bool {
    [Method::RESOURCES_READ, Method::RESOURCES_SUBSCRIBE, Method::RESOURCES_UNSUBSCRIBE]
        .into_iter()
        .any(|name| method.is(name))
}

/// The beginning of a session's id: enough to find its spans, and its lines in the log, too little to speak in it. Of a short
/// one it is less, since what is left has to be a secret still.
fn hint(session: &str) -> &str {
    let length = HINT_BYTES_MAX.min(session.len() / 4);
    session.get(..session.floor_char_boundary(length)).unwrap_or_default()
}

/// A URI without user information, query and fragment, where passwords and arguments stand (I9).
fn without_secrets(uri: &str) -> String {
    let plain = uri.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = plain.split_once("://") else { return plain.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

/// What went wrong with `call`, if anything did.
///
/// A caller that left is no failure. A refusal fails with its code, except that one which a model is told as a tool
/// result is a `tool_error` like any other.
pub fn failure(call: &Call, outcome: Outcome, refused: Option<Reason>) -> Option<Failure> {
    let kind: Cow<'static, str> = match outcome {
        Outcome::Ok | Outcome::Cancelled => return None,
        Outcome::ToolError => "tool_error".into(),
        Outcome::RpcError(code) | Outcome::ServerError(code) => {
            return Some(Failure { kind: code.to_string().into(), code: Some(code) });
        }
        Outcome::HttpError(status) | Outcome::HttpRefused(status) => status.to_string().into(),
        Outcome::Unreachable => "unreachable".into(),
        Outcome::Broken | Outcome::Replaced => "broken".into(),
        Outcome::TimedOut => "timeout".into(),
        Outcome::TooLarge => "too_large".into(),
        Outcome::Refused => match refused {
            Some(Reason::InvalidArguments) if call.revision.bad_arguments_are_results() => "tool_error".into(),
            Some(reason) => reason.code().to_string().into(),
            None => "refused".into(),
        },
    };
    let in_result = refused == Some(Reason::InvalidArguments) && call.revision.bad_arguments_are_results();
    Some(Failure { kind, code: refused.filter(|_| !in_result).map(Reason::code) })
}
