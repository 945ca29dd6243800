//! Whether an answer is the right one. Bytes are compared with the last right answer first, and parsed where they differ.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::failure::Failure;
use crate::message::Asked;

/// The answer of a method around its id and its text, as learnt from one that was parsed.
#[derive(Debug)]
pub(crate) struct Shape {
    before: Vec<u8>,
    between: Vec<u8>,
    after: Vec<u8>,
    is_id_first: bool,
}

/// What a message from the server is to the one who waits for an answer.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// The right answer.
    Right,
    /// The answer, but not the right one.
    Wrong(Failure),
    /// An answer to somebody else.
    OtherId,
    /// A notification or a request.
    NoAnswer,
}

/// Checks `body`, with `shape` as a shortcut that it learns.
pub(crate) fn check(body: &[u8], asked: &Asked, shape: &mut Option<Shape>) -> Verdict {
    if shape.as_ref().is_some_and(|shape| shape.fits(body, asked)) {
        return Verdict::Right;
    }
    let verdict = parse(body, asked);
    if verdict == Verdict::Right {
        *shape = Shape::learn(body, asked);
    }
    verdict
}

impl Shape {
    fn fits(&self, body: &[u8], asked: &Asked) -> bool {
        let mut digits = itoa::Buffer::new();
        let id = digits.format(asked.id).as_bytes();
        let (token, filler) = texts(asked);
        let inner =
            if self.is_id_first { [id, &self.between, token, filler] } else { [token, filler, &self.between, id] };
        let mut rest = body.strip_prefix(self.before.as_slice());
        for part in inner {
            rest = rest.and_then(|rest| rest.strip_prefix(part));
        }
        rest == Some(self.after.as_slice())
    }

    /// `None` if id or text are there more than once, or written in a way that cannot be compared.
    fn learn(body: &[u8], asked: &Asked) -> Option<Self> {
        let id = format!("\"id\":{}", asked.id);
        let id_end = only(body, id.as_bytes())? + id.len();
        let id_start = id_end - (id.len() - "\"id\":".len());
        let (token, filler) = texts(asked);
        let (text_start, text_end) = if token.is_empty() {
            (id_end, id_end)
        } else {
            let start = only(body, token)?;
            (start, start + token.len() + filler.len())
        };
        let is_id_first = id_end <= text_start;
        let (first, second) = if is_id_first {
            (id_start..id_end, text_start..text_end)
        } else {
            (text_start..text_end, id_start..id_end)
        };
        let shape = Self {
            before: body.get(..first.start)?.to_vec(),
            between: body.get(first.end..second.start)?.to_vec(),
            after: body.get(second.end..)?.to_vec(),
            is_id_first,
        };
        shape.fits(body, asked).then_some(shape)
    }
}

fn texts(asked: &Asked) -> (&[u8], &[u8]) {
    asked.text.as_ref().map_or((&[], &[]), |(token, filler)| (token, filler))
}

/// Where `part` is in `whole`, if it is there once.
fn only(whole: &[u8], part: &[u8]) -> Option<usize> {
    let mut places = whole.windows(part.len()).enumerate().filter(|(_, window)| *window == part);
    let (place, _) = places.next()?;
    places.next().is_none().then_some(place)
}

#[derive(Deserialize)]
struct Answer<'a> {
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
}

#[derive(Deserialize)]
struct ToolResult<'a> {
    #[serde(borrow)]
    content: Vec<Content<'a>>,
    #[serde(rename = "isError", default)]
    is_error: bool,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

fn parse(body: &[u8], asked: &Asked) -> Verdict {
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else { return Verdict::Wrong(Failure::Malformed) };
    if answer.method.is_some() {
        return Verdict::NoAnswer;
    }
    // An error of a server that could not read the id comes without one.
    let is_ours = answer.id.map(RawValue::get).is_none_or(|id| id == "null" || id.parse() == Ok(asked.id));
    match (answer.result, answer.error) {
        _ if !is_ours => Verdict::OtherId,
        (None, Some(error)) => Verdict::Wrong(Failure::JsonRpc(error.code)),
        (Some(_), None) if answer.id.is_none() || answer.jsonrpc.as_deref() != Some("2.0") => {
            Verdict::Wrong(Failure::Malformed)
        }
        (Some(result), None) => match check_result(result, asked) {
            Ok(()) => Verdict::Right,
            Err(failure) => Verdict::Wrong(failure),
        },
        (Some(_), Some(_)) | (None, None) => Verdict::Wrong(Failure::Malformed),
    }
}

fn check_result(result: &RawValue, asked: &Asked) -> Result<(), Failure> {
    let Some((token, filler)) = &asked.text else {
        return if result.get().starts_with('{') { Ok(()) } else { Err(Failure::Malformed) };
    };
    let result: ToolResult<'_> = serde_json::from_str(result.get()).map_err(|_| Failure::Malformed)?;
    if result.is_error {
        return Err(Failure::ToolError);
    }
    let [Content { text: Some(text) }] = result.content.as_slice() else { return Err(Failure::WrongContent) };
    let is_ours = text.as_bytes().strip_prefix(token.as_slice()) == Some(filler.as_ref());
    if is_ours { Ok(()) } else { Err(Failure::WrongContent) }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
