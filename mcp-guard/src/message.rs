//! One parse of a message: lazy, borrowed, bounded.
//!
//! Id, method and the name of what is meant are read; `params` stay raw, as a range of the body. A body is read once,
//! into a [`Tape`], and copied never.
//!
//! Refused here: what is not UTF-8 JSON or nests too deeply (`parse_error`); what is no JSON-RPC 2.0 message, a
//! key given twice on which parsers would disagree, an id that is neither a string nor an integer, a batch where
//! the revision has none (`invalid_request`).

use std::borrow::Cow;
use std::ops::Range;

use crate::call::{Call, Kind, Method};
use crate::json::{self, Broken, Flaw, Json, Tape};
use crate::limits::{ID_BYTES_MAX, METHOD_BYTES_MAX, TARGET_BYTES_MAX};
use crate::members;
use crate::refusal::{Reason, Refusal};
use crate::revision::Revision;

/// What holds for every message of a body before it is read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The revision that the headers name, if they do.
    pub revision: Option<Revision>,
    /// Deepest nesting of arrays and objects.
    pub depth_max: u32,
    /// Most messages in a batch.
    pub batch_max: usize,
}

/// What a body holds.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "JSON-RPC knows no third form")]
pub enum Body {
    /// One message, with what was read of the body.
    Single(Call, Tape),
    /// Messages, each with its place in the body, some perhaps faulty.
    Batch(Vec<(Range<usize>, Result<Call, Fault>)>),
}

/// A message that is refused, with what is known about it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fault {
    /// Why.
    pub refusal: Refusal,
    /// As much of the message as could be read, for the id of the answer.
    pub call: Option<Box<Call>>,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, call: None }
    }
}

/// Reads a body.
///
/// # Errors
///
/// A [`Fault`] when the whole body is refused. The faults of members of a batch are their own.
pub fn read(body: &[u8], reading: Reading) -> Result<Body, Fault> {
    let text = std::str::from_utf8(body)
        .map_err(|error| parse_error(format!("invalid UTF-8 at byte {}", error.valid_up_to())))?;
    let tape = Tape::read(text, reading.depth_max).map_err(|broken| unreadable(text, broken, reading.depth_max))?;
    let root = tape.root(text);
    if root.kind() == json::Kind::Array {
        return read_batch(root, reading);
    }
    let call = read_message(root, 0, reading)?;
    Ok(Body::Single(call, tape))
}

fn read_batch(batch: Json<'_>, reading: Reading) -> Result<Body, Fault> {
    if batch.elements().nth(reading.batch_max).is_some() {
        return Err(invalid(format!("a batch of more than {} messages", reading.batch_max)).into());
    }
    let revision = reading.revision.unwrap_or(Revision::WHEN_ABSENT);
    if !revision.has_batches() {
        return Err(invalid(format!("revision {revision} has no batches")).into());
    }
    let read = |member: Json<'_>| (member.range(), read_message(member, member.range().start, reading));
    let calls: Vec<_> = batch.elements().map(read).collect();
    if calls.is_empty() {
        return Err(invalid("a batch holds at least one message").into());
    }
    if calls.iter().any(|(_, call)| call.as_ref().is_ok_and(|call| call.method.is(Method::INITIALIZE))) {
        return Err(invalid("initialize may not be in a batch").into());
    }
    Ok(Body::Batch(calls))
}

/// The members of a message that are looked at.
struct Envelope<'a> {
    jsonrpc: Option<Json<'a>>,
    id: Option<Json<'a>>,
    method: Option<Json<'a>>,
    params: Option<Json<'a>>,
    result: Option<Json<'a>>,
    error: Option<Json<'a>>,
}

impl<'a> Envelope<'a> {
    fn read(message: Json<'a>) -> Result<Self, Refusal> {
        let names = &["jsonrpc", "id", "method", "params", "result", "error"];
        let [jsonrpc, id, method, params, result, error] = members::read(message, names)?;
        Ok(Self { jsonrpc, id, method, params, result, error })
    }
}

/// The members of `params` by which a call is named. All others stay unread.
#[derive(Default)]
struct Named<'a> {
    name: Option<Json<'a>>,
    uri: Option<Json<'a>>,
    task_id: Option<Json<'a>>,
    arguments: Option<Json<'a>>,
    protocol_version: Option<Json<'a>>,
    meta: Option<Json<'a>>,
}

impl<'a> Named<'a> {
    fn read(params: Json<'a>, method: &Method) -> Result<Self, Refusal> {
        if !method.is_known() {
            // What a method of somebody else's calls its parameters is its own affair.
            let [meta] = members::read(params, &["_meta"])?;
            return Ok(Self { meta, ..Self::default() });
        }
        let names = &["name", "uri", "taskId", "arguments", "protocolVersion", "_meta"];
        let [name, uri, task_id, arguments, protocol_version, meta] = members::read(params, names)?;
        Ok(Self { name, uri, task_id, arguments, protocol_version, meta })
    }
}

/// Reads one message. Ranges count from `base`, where what is forwarded of the body begins.
fn read_message(message: Json<'_>, base: usize, reading: Reading) -> Result<Call, Fault> {
    let envelope = Envelope::read(message)?;
    let revision = reading.revision.unwrap_or(Revision::WHEN_ABSENT);
    let mut call = Call::new(Kind::Request, Method::NONE, revision);
    // The id and the method come first, so that every later fault can be answered with them.
    if let Some(id) = envelope.id {
        call.id = Some(id_text(id)?.into());
    }
    call.kind = kind(&envelope);
    if let Some(method) = envelope.method.filter(|_| call.kind != Kind::Response) {
        call.method = method_named(method).map_err(|refusal| fault(refusal, &call))?;
    }
    check_form(&envelope).map_err(|refusal| fault(refusal, &call))?;
    if let Some(params) = envelope.params {
        call.params = Some(range_from(base, params));
        read_names(params, base, &mut call, reading).map_err(|refusal| fault(refusal, &call))?;
    }
    Ok(call)
}

fn fault(refusal: Refusal, call: &Call) -> Fault {
    Fault { refusal, call: Some(Box::new(call.clone())) }
}

fn kind(envelope: &Envelope<'_>) -> Kind {
    match (envelope.method, envelope.id) {
        (None, _) if envelope.result.is_some() || envelope.error.is_some() => Kind::Response,
        (_, Some(_)) => Kind::Request,
        (_, None) => Kind::Notification,
    }
}

fn check_form(envelope: &Envelope<'_>) -> Result<(), Refusal> {
    if envelope.jsonrpc.map(Json::raw) != Some("\"2.0\"") {
        return Err(invalid("`jsonrpc` must be \"2.0\""));
    }
    let answers = usize::from(envelope.result.is_some()) + usize::from(envelope.error.is_some());
    match (envelope.method, answers) {
        (Some(_), 0) => match envelope.params {
            Some(params) if !matches!(params.kind(), json::Kind::Object | json::Kind::Array) => {
                Err(invalid("`params` must be an object").with("pointer", "/params"))
            }
            Some(_) | None => Ok(()),
        },
        (None, 1) if envelope.id.is_some() => Ok(()),
        (None, 1) => Err(invalid("a response has an `id`")),
        (None, 0) => Err(invalid("a message has a `method`, a `result` or an `error`")),
        _ => Err(invalid("a message has only one of `method`, `result` and `error`")),
    }
}

fn id_text(id: Json<'_>) -> Result<&str, Refusal> {
    let text = id.raw();
    let is_integer = || id.kind() == json::Kind::Number && !text.contains(['.', 'e', 'E']);
    if id.kind() != json::Kind::Text && !is_integer() {
        return Err(invalid("`id` must be a string or an integer"));
    }
    if text.len() > ID_BYTES_MAX {
        return Err(invalid(format!("`id` is longer than {ID_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn method_named(method: Json<'_>) -> Result<Method, Refusal> {
    let name = string(method).ok_or_else(|| invalid("`method` must be a string"))?;
    match name.len() {
        0 => Err(invalid("`method` is empty")),
        length if length > METHOD_BYTES_MAX => {
            Err(invalid(format!("`method` is longer than {METHOD_BYTES_MAX} bytes")))
        }
        _ => Ok(Method::new(&name)),
    }
}

/// Fills in what `params` say about the target, its arguments and the revision.
fn read_names(params: Json<'_>, base: usize, call: &mut Call, reading: Reading) -> Result<(), Refusal> {
    if params.kind() != json::Kind::Object {
        return Ok(());
    }
    let named = Named::read(params, &call.method)?;
    let target = match call.method.as_str() {
        Method::TOOLS_CALL | Method::PROMPTS_GET => named.name,
        Method::RESOURCES_READ | Method::RESOURCES_SUBSCRIBE | Method::RESOURCES_UNSUBSCRIBE => named.uri,
        Method::TASKS_GET | Method::TASKS_RESULT | Method::TASKS_CANCEL => named.task_id,
        _ => None,
    };
    let target = target.and_then(string);
    if target.as_ref().is_some_and(|target| target.len() > TARGET_BYTES_MAX) {
        return Err(invalid(format!("the name of the target is longer than {TARGET_BYTES_MAX} bytes")));
    }
    call.target = target.map(Into::into);
    call.arguments = named.arguments.map(|arguments| range_from(base, arguments));
    call.revision = revision(&named, call, reading)?;
    Ok(())
}

/// The revision by `_meta`, by the headers, or by what `initialize` proposes, in this order.
fn revision(named: &Named<'_>, call: &Call, reading: Reading) -> Result<Revision, Refusal> {
    let meta = named.meta.filter(|meta| meta.kind() == json::Kind::Object);
    let by_meta = meta.map(|meta| members::read(meta, &["io.modelcontextprotocol/protocolVersion"])).transpose()?;
    if let Some(text) = by_meta.and_then(|[version]| version).and_then(string) {
        // Headers and body that disagree are refused as that, whatever revision the body names.
        return match reading.revision {
            Some(header) if header.as_str() != text => Err(Refusal::new(
                Reason::HeaderMismatch,
                format!("`_meta` says another revision than `MCP-Protocol-Version`, which is {header}"),
            )),
            Some(_) | None => Revision::parse(&text).ok_or_else(|| unsupported(&text)),
        };
    }
    if call.method.is(Method::INITIALIZE) && reading.revision.is_none() {
        let proposed = named.protocol_version.and_then(string).and_then(|text| Revision::parse(&text));
        return Ok(proposed.filter(|revision| !revision.is_stateless()).unwrap_or(Revision::V2025_11_25));
    }
    Ok(call.revision)
}

/// The refusal of a revision that the guard does not know.
pub fn unsupported(requested: &str) -> Refusal {
    let supported: Vec<&str> = Revision::ALL.iter().map(|revision| revision.as_str()).collect();
    Refusal::new(Reason::UnsupportedVersion, format!("supported are {}", supported.join(", ")))
        .with("supported", supported)
        .with("requested", requested.chars().take(32).collect::<String>())
}

/// What a string says, if all parsers agree on that.
fn string(value: Json<'_>) -> Option<Cow<'_, str>> {
    if value.oddity().is_some() { None } else { value.as_text() }
}

/// Where `part` lies, counted from `base`.
fn range_from(base: usize, part: Json<'_>) -> Range<usize> {
    let range = part.range();
    range.start.saturating_sub(base)..range.end.saturating_sub(base)
}

fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidRequest, detail)
}

fn parse_error(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::ParseError, detail)
}

/// The refusal of a text that is no JSON, or nested too deeply.
fn unreadable(text: &str, broken: Broken, depth_max: u32) -> Refusal {
    match broken.flaw {
        Flaw::TooDeep => parse_error(format!("nested more than {depth_max} deep")),
        Flaw::Syntax => {
            let before = text.as_bytes().get(..broken.at).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
            parse_error(format!("line {line} column {column}"))
        }
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
