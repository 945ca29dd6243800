//! What erlmcp nodes cannot survive, and how their messages are put right. Seen on 0.5.0 and v3.
//!
//! | sent to the node                                       | effect on it      | here                    |
//! |--------------------------------------------------------|-------------------|-------------------------|
//! | bad JSON, a batch, no `jsonrpc`, a non-string method   | no reply at all   | refused                 |
//! | an object or fractional id                             | dies, or no reply | refused                 |
//! | no `params` where the method needs them                | dies              | refused                 |
//! | no `params` where it does not                          | dies              | `params: {}` put in     |
//! | `params` or `arguments` that are no object             | dies              | refused                 |
//! | a response that it did not ask for                     | dies              | refused by the conversation |
//! | a second `initialize`                                  | -32005            | refused by the upstream |
//!
//! From the node, `notifications/initialized` is the client's to send and is dropped; notifications without their
//! prefix get it; -32601 to a `ping` counts as alive.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::Deserializer;
use serde_json::value::RawValue;

use super::FromNode;
use crate::call::Method;
use crate::refusal::{Reason, Refusal};

#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Failed {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    code: i64,
}

/// Tells `null` from absence, which `Option` alone does not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The methods whose `params` the protocol requires.
const NEED_PARAMS: [&str; 11] = [
    Method::INITIALIZE,
    Method::TOOLS_CALL,
    Method::RESOURCES_READ,
    Method::RESOURCES_SUBSCRIBE,
    Method::RESOURCES_UNSUBSCRIBE,
    Method::PROMPTS_GET,
    Method::COMPLETION_COMPLETE,
    Method::LOGGING_SET_LEVEL,
    Method::TASKS_GET,
    Method::TASKS_RESULT,
    Method::TASKS_CANCEL,
];

pub(super) fn to_erlmcp(body: Bytes) -> Result<Bytes, Refusal> {
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(refusal(Reason::InvalidRequest, "the node takes no batch"));
    }
    let sent: Sent<'_> = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
    if sent.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
        return Err(refusal(Reason::InvalidRequest, "`jsonrpc` must be \"2.0\""));
    }
    if sent.id.is_some_and(|id| !is_plain_id(id.get())) {
        return Err(refusal(Reason::InvalidRequest, "`id` must be a string or an integer"));
    }
    let Some(method) = sent.method else {
        return Ok(body);
    };
    let method: String =
        serde_json::from_str(method.get()).map_err(|_| refusal(Reason::InvalidRequest, "`method` must be a string"))?;
    match sent.params.map(RawValue::get) {
        Some(params) => check_params(params).map(|()| body),
        None if NEED_PARAMS.contains(&method.as_str()) => Err(refusal(Reason::InvalidParams, "`params` are missing")),
        None => Ok(with_empty_params(&body)),
    }
}

fn check_params(params: &str) -> Result<(), Refusal> {
    if !params.starts_with('{') {
        return Err(refusal(Reason::InvalidParams, "`params` must be an object"));
    }
    let params: Params<'_> = serde_json::from_str(params).map_err(|error| unreadable(&error))?;
    if params.arguments.is_some_and(|arguments| !arguments.get().starts_with('{')) {
        return Err(refusal(Reason::InvalidParams, "`arguments` must be an object"));
    }
    Ok(())
}

fn is_plain_id(id: &str) -> bool {
    let digits = id.strip_prefix('-').unwrap_or(id);
    id.starts_with('"') || (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Puts `"params":{}` in front of the first member. There is one: `jsonrpc`.
fn with_empty_params(body: &Bytes) -> Bytes {
    let at = body.iter().position(|byte| *byte == b'{').map_or(0, |brace| brace + 1);
    let (head, tail) = body.split_at(at);
    [head, b"\"params\":{},", tail].concat().into()
}

pub(super) fn from_erlmcp(message: &FromNode<'_>, line: Bytes) -> Option<Bytes> {
    let FromNode::Notification { method, .. } = *message else {
        return Some(line);
    };
    if method == "\"notifications/initialized\"" {
        return None;
    }
    if method.starts_with("\"notifications/") {
        return Some(line);
    }
    // The method is a part of the line, so this is where its text begins, after the quote.
    let at = (method.as_ptr() as usize).saturating_sub(line.as_ptr() as usize) + 1;
    let (head, tail) = line.split_at_checked(at)?;
    Some([head, b"notifications/", tail].concat().into())
}

pub(super) fn is_unknown_method(answer: &[u8]) -> bool {
    serde_json::from_slice::<Failed>(answer).is_ok_and(|failed| failed.error.code == -32601)
}

fn unreadable(error: &serde_json::Error) -> Refusal {
    if error.is_data() {
        refusal(Reason::InvalidRequest, "a member of the message is given twice, or it is no object")
    } else {
        refusal(Reason::ParseError, "not JSON")
    }
}

fn refusal(reason: Reason, detail: &str) -> Refusal {
    Refusal::new(reason, detail)
}
