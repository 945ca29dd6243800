//! What a server's message says about how a call went.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::call::Call;
use crate::outcome::Outcome;

/// JSON-RPC 2.0, section 5.1: internal error.
const INTERNAL_ERROR: i64 = -32603;

/// A server's message, seen from one call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there is no fourth")]
pub enum Reply {
    /// The answer to the call.
    Answer(Outcome),
    /// Something else in JSON.
    Other,
    /// No JSON object.
    Unreadable,
}

impl Reply {
    /// Reads `message`, as far as `call` is concerned.
    pub fn read(message: &[u8], call: &Call) -> Self {
        let Ok(reply) = serde_json::from_slice::<Members<'_>>(message) else { return Self::Unreadable };
        if reply.method.is_some() || !answers(reply.id, call) {
            return Self::Other;
        }
        match (reply.error, reply.result) {
            (Some(ErrorCode { code: INTERNAL_ERROR }), _) => Self::Answer(Outcome::ServerError(INTERNAL_ERROR)),
            (Some(ErrorCode { code }), _) => Self::Answer(Outcome::RpcError(code)),
            (None, Some(result)) => Self::Answer(of_result(&result, call)),
            (None, None) => Self::Other,
        }
    }
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<IgnoredAny>,
    #[serde(default)]
    error: Option<ErrorCode>,
    #[serde(default)]
    result: Option<ResultOf>,
}

#[derive(Deserialize)]
struct ErrorCode {
    code: i64,
}

/// A result, of which only the member `isError` is looked at; any JSON is one.
///
/// Read with the message in one pass, since results are what is large in it.
struct ResultOf {
    is_error: bool,
}

impl<'de> Deserialize<'de> for ResultOf {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

struct Look;

#[derive(Deserialize)]
#[serde(field_identifier)]
enum Member {
    #[serde(rename = "isError")]
    IsError,
    #[serde(other)]
    Other,
}

impl<'de> Visitor<'de> for Look {
    type Value = ResultOf;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a result")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ResultOf, A::Error> {
        let mut is_error = false;
        while let Some(member) = map.next_key()? {
            match member {
                Member::IsError => is_error = map.next_value::<&RawValue>()?.get() == "true",
                Member::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(ResultOf { is_error })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ResultOf, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(ResultOf { is_error: false })
    }

    fn visit_bool<E>(self, _: bool) -> Result<ResultOf, E> {
        Ok(ResultOf { is_error: false })
    }

    fn visit_i64<E>(self, _: i64) -> Result<ResultOf, E> {
        Ok(ResultOf { is_error: false })
    }

    fn visit_u64<E>(self, _: u64) -> Result<ResultOf, E> {
        Ok(ResultOf { is_error: false })
    }

    fn visit_f64<E>(self, _: f64) -> Result<ResultOf, E> {
        Ok(ResultOf { is_error: false })
    }

    fn visit_str<E>(self, _: &str) -> Result<ResultOf, E> {
        Ok(ResultOf { is_error: false })
    }
}

fn of_result(result: &ResultOf, call: &Call) -> Outcome {
    if call.tool().is_some() && result.is_error { Outcome::ToolError } else { Outcome::Ok }
}

/// Whether `id` is the call's. An error without an id can only mean the one call that is answered.
fn answers(id: Option<&RawValue>, call: &Call) -> bool {
    match (id, call.id.as_deref()) {
        (None, _) => true,
        (Some(id), Some(own)) => same_id(id.get(), own),
        (Some(_), None) => false,
    }
}

/// Whether two JSON texts are the same id: `"a\u0062"` is `"ab"`, and `-0` is `0`.
pub fn same_id(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    if one.starts_with('"') && other.starts_with('"') {
        // Only an escape makes one string look like two.
        let text = |id: &str| serde_json::from_str::<String>(id).ok();
        return (one.contains('\\') || other.contains('\\')) && text(one) == text(other);
    }
    matches!((one.parse::<i128>(), other.parse::<i128>()), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Kind, Method};
    use crate::revision::Revision;

    fn call() -> Call {
        let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), Revision::V2025_11_25);
        call.id = Some("7".into());
        call.target = Some("add".into());
        call
    }

    #[test]
    fn any_json_is_a_result_and_only_is_error_true_says_that_the_tool_failed() {
        let of = |result: &str| Reply::read(format!(r#"{{"id":7,"result":{result}}}"#).as_bytes(), &call());
        for ok in
            ["{}", "[true]", "true", "-1", "7", "0.5", r#""text""#, r#"{"isError":"true"}"#, r#"{"isError":null}"#]
        {
            assert_eq!(of(ok), Reply::Answer(Outcome::Ok), "{ok}");
        }
        assert_eq!(of(r#"{"content":[{"isError":false}],"isError": true ,"x":[]}"#), Reply::Answer(Outcome::ToolError));
        assert_eq!(of(r#"{"isE\u0072ror":true}"#), Reply::Answer(Outcome::ToolError));
        assert_eq!(of("null"), Reply::Other);
    }

    #[test]
    fn the_answer_is_told_from_other_messages() {
        let of = |text: &str| Reply::read(text.as_bytes(), &call());
        let answer = Reply::Answer;
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#), answer(Outcome::Ok));
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":7,"result":{"isError":true}}"#), answer(Outcome::ToolError));
        let refused = of(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":""}}"#);
        assert_eq!(refused, answer(Outcome::RpcError(-32602)));
        let failed = of(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":""}}"#);
        assert_eq!(failed, answer(Outcome::ServerError(-32603)));
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":8,"result":{}}"#), Reply::Other);
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#), Reply::Other);
        assert_eq!(of("nonsense"), Reply::Unreadable);
    }

    #[test]
    fn an_id_is_the_same_however_it_is_spelled() {
        for (one, other) in [(r#""a""#, r#""\u0061""#), ("0", "-0"), (r#""ü""#, r#""\u00fc""#)] {
            assert!(same_id(one, other) && same_id(other, one), "{one} {other}");
        }
        for (one, other) in [(r#""1""#, "1"), ("1", "2"), (r#""a""#, r#""b""#), (r#""a""#, r#""\u0062""#)] {
            assert!(!same_id(one, other), "{one} {other}");
        }
    }
}
