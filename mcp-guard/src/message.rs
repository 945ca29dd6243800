//! One parse of a message: lazy, borrowed, bounded.
//!
//! Id, method and the name of what is meant are read; `params` stay raw, as a range of the body. A body is
//! scanned twice, once for its depth and once by serde_json with raw values, and copied never.
//!
//! Refused here: what is not UTF-8 JSON or nests too deeply (`parse_error`); what is no JSON-RPC 2.0 message, a
//! key given twice on which parsers would disagree, an id that is neither a string nor an integer, a batch where
//! the revision has none (`invalid_request`).

mod members;

use std::ops::Range;

use memchr::memchr2;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::call::{Call, Kind, Method};
use crate::limits::{ID_BYTES_MAX, METHOD_BYTES_MAX, TARGET_BYTES_MAX};
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
    /// One message.
    Single(Call),
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
    check_depth(body, reading.depth_max)?;
    match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => read_message(text, reading).map(Body::Single),
        Some(b'[') => read_batch(text, reading),
        Some(_) | None => {
            serde_json::from_str::<&RawValue>(text).map_err(|error| unreadable(&error))?;
            Err(invalid("a message is a JSON object").into())
        }
    }
}

/// Refuses nesting deeper than `depth_max` without recursion.
fn check_depth(body: &[u8], depth_max: u32) -> Result<(), Refusal> {
    let mut depth = 0_u32;
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => bytes = after_string(bytes.as_slice()).iter(),
            b'{' | b'[' => {
                depth += 1;
                if depth > depth_max {
                    return Err(parse_error(format!("nested more than {depth_max} deep")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// What follows the string of which `bytes` are the rest. Most of a body is strings, so they are searched, not walked.
fn after_string(mut bytes: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', bytes) {
        let is_end = bytes.get(at) == Some(&b'"');
        // What a backslash escapes is not the end.
        bytes = bytes.get(if is_end { at + 1 } else { at + 2 }..).unwrap_or_default();
        if is_end {
            return bytes;
        }
    }
    &[]
}

fn read_batch(text: &str, reading: Reading) -> Result<Body, Fault> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let members = deserializer
        .deserialize_seq(Members { count_max: reading.batch_max })
        .and_then(|members| deserializer.end().map(|()| members))
        .map_err(|error| unreadable(&error))?;
    let revision = reading.revision.unwrap_or(Revision::WHEN_ABSENT);
    if !revision.has_batches() {
        return Err(invalid(format!("revision {revision} has no batches")).into());
    }
    if members.is_empty() {
        return Err(invalid("a batch holds at least one message").into());
    }
    let calls: Vec<_> =
        members.into_iter().map(|member| (range_in(text, member.get()), read_message(member.get(), reading))).collect();
    if calls.iter().any(|(_, call)| call.as_ref().is_ok_and(|call| call.method.is(Method::INITIALIZE))) {
        return Err(invalid("initialize may not be in a batch").into());
    }
    Ok(Body::Batch(calls))
}

/// Reads at most `count_max` raw members.
struct Members {
    count_max: usize,
}

impl<'de> Visitor<'de> for Members {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a batch")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = seq.next_element()? {
            if members.len() == self.count_max {
                return Err(A::Error::custom(format_args!("a batch of more than {} messages", self.count_max)));
            }
            members.push(member);
        }
        Ok(members)
    }
}

/// The members of a message that are looked at.
struct Envelope<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    result: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
}

impl<'a> Envelope<'a> {
    fn read(text: &'a str) -> Result<Self, Refusal> {
        let names = &["jsonrpc", "id", "method", "params", "result", "error"];
        let [jsonrpc, id, method, params, result, error] = members::read(text, names)?;
        Ok(Self { jsonrpc, id, method, params, result, error })
    }
}

/// The members of `params` by which a call is named. All others stay unread.
#[derive(Default)]
struct Named<'a> {
    name: Option<&'a RawValue>,
    uri: Option<&'a RawValue>,
    task_id: Option<&'a RawValue>,
    arguments: Option<&'a RawValue>,
    protocol_version: Option<&'a RawValue>,
    meta: Option<&'a RawValue>,
}

impl<'a> Named<'a> {
    fn read(params: &'a str, method: &Method) -> Result<Self, Refusal> {
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

/// Reads one message. Ranges are in `text`, which is what is forwarded of a batch.
fn read_message(text: &str, reading: Reading) -> Result<Call, Fault> {
    if !text.trim_start().starts_with('{') {
        return Err(invalid("a message is a JSON object").into());
    }
    let envelope = Envelope::read(text)?;
    let revision = reading.revision.unwrap_or(Revision::WHEN_ABSENT);
    let mut call = Call::new(Kind::Request, Method::NONE, revision);
    // The id and the method come first, so that every later fault can be answered with them.
    if let Some(id) = envelope.id {
        call.id = Some(id_text(id)?.into());
    }
    call.kind = kind(&envelope);
    if let Some(method) = envelope.method.filter(|_| call.kind != Kind::Response) {
        call.method = Method::new(&method_name(method).map_err(|refusal| fault(refusal, &call))?);
    }
    check_form(&envelope).map_err(|refusal| fault(refusal, &call))?;
    if let Some(params) = envelope.params {
        call.params = Some(range_in(text, params.get()));
        read_names(text, params.get(), &mut call, reading).map_err(|refusal| fault(refusal, &call))?;
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
    if envelope.jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
        return Err(invalid("`jsonrpc` must be \"2.0\""));
    }
    let answers = usize::from(envelope.result.is_some()) + usize::from(envelope.error.is_some());
    match (envelope.method, answers) {
        (Some(_), 0) => match envelope.params {
            Some(params) if !params.get().starts_with(['{', '[']) => {
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

fn id_text(id: &RawValue) -> Result<&str, Refusal> {
    let text = id.get();
    let integer = text.strip_prefix('-').unwrap_or(text);
    let well_formed = text.starts_with('"') || (!integer.is_empty() && integer.bytes().all(|b| b.is_ascii_digit()));
    if !well_formed {
        return Err(invalid("`id` must be a string or an integer"));
    }
    if text.len() > ID_BYTES_MAX {
        return Err(invalid(format!("`id` is longer than {ID_BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn method_name(method: &RawValue) -> Result<String, Refusal> {
    let name: String = serde_json::from_str(method.get()).map_err(|_| invalid("`method` must be a string"))?;
    match name.len() {
        0 => Err(invalid("`method` is empty")),
        length if length > METHOD_BYTES_MAX => {
            Err(invalid(format!("`method` is longer than {METHOD_BYTES_MAX} bytes")))
        }
        _ => Ok(name),
    }
}

/// Fills in what `params` say about the target, its arguments and the revision.
fn read_names(whole: &str, params: &str, call: &mut Call, reading: Reading) -> Result<(), Refusal> {
    if !params.starts_with('{') {
        return Ok(());
    }
    let named = Named::read(params, &call.method)?;
    let target = match call.method.as_str() {
        Method::TOOLS_CALL | Method::PROMPTS_GET => named.name,
        Method::RESOURCES_READ | Method::RESOURCES_SUBSCRIBE | Method::RESOURCES_UNSUBSCRIBE => named.uri,
        Method::TASKS_GET | Method::TASKS_RESULT | Method::TASKS_CANCEL => named.task_id,
        _ => None,
    };
    call.target = target.and_then(string).map(String::into_boxed_str);
    if call.target.as_ref().is_some_and(|target| target.len() > TARGET_BYTES_MAX) {
        call.target = None;
        return Err(invalid(format!("the name of the target is longer than {TARGET_BYTES_MAX} bytes")));
    }
    call.arguments = named.arguments.map(|arguments| range_in(whole, arguments.get()));
    call.revision = revision(&named, call, reading)?;
    Ok(())
}

/// The revision by `_meta`, by the headers, or by what `initialize` proposes, in this order.
fn revision(named: &Named<'_>, call: &Call, reading: Reading) -> Result<Revision, Refusal> {
    let meta = named.meta.filter(|meta| meta.get().starts_with('{'));
    let by_meta =
        meta.map(|meta| members::read(meta.get(), &["io.modelcontextprotocol/protocolVersion"])).transpose()?;
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

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// Where `part`, a slice of `whole`, lies in it.
fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

fn invalid(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::InvalidRequest, detail)
}

fn parse_error(detail: impl Into<String>) -> Refusal {
    Refusal::new(Reason::ParseError, detail)
}

/// What serde_json says of a text: no JSON, or JSON of another form.
fn unreadable(error: &serde_json::Error) -> Refusal {
    if error.is_data() {
        // serde_json names members here, never values.
        invalid(error.to_string().split(" at line ").next().unwrap_or_default())
    } else {
        parse_error(format!("line {} column {}", error.line(), error.column()))
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
