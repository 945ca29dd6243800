//! What a server's message says about how a call went.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::call::Call;
use crate::outcome::Outcome;

/// JSON-RPC 2.0, section 5.1: internal error.
const INTERNAL_ERROR: i64 = -32603;

#[derive(Deserialize)]
struct Reply<'a> {
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

/// How `call` ended, if `message` is the answer to it.
pub fn outcome(message: &[u8], call: &Call) -> Option<Outcome> {
    let reply: Reply<'_> = serde_json::from_slice(message).ok()?;
    if reply.method.is_some() || !answers(reply.id, call) {
        return None;
    }
    match (reply.error, reply.result) {
        (Some(ErrorCode { code: INTERNAL_ERROR }), _) => Some(Outcome::ServerError(INTERNAL_ERROR)),
        (Some(ErrorCode { code }), _) => Some(Outcome::RpcError(code)),
        (None, Some(ResultOf { is_error: true })) if call.tool().is_some() => Some(Outcome::ToolError),
        (None, Some(_)) => Some(Outcome::Ok),
        (None, None) => None,
    }
}

/// Whether `id` is the call's. An error without an id can only mean the one call that is answered.
fn answers(id: Option<&RawValue>, call: &Call) -> bool {
    id.is_none_or(|id| Some(id.get()) == call.id.as_deref())
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
        let of = |result: &str| outcome(format!(r#"{{"id":7,"result":{result}}}"#).as_bytes(), &call());
        for ok in
            ["{}", "[true]", "true", "-1", "7", "0.5", r#""text""#, r#"{"isError":"true"}"#, r#"{"isError":null}"#]
        {
            assert_eq!(of(ok), Some(Outcome::Ok), "{ok}");
        }
        assert_eq!(of(r#"{"content":[{"isError":false}],"isError": true ,"x":[]}"#), Some(Outcome::ToolError));
        assert_eq!(of(r#"{"isE\u0072ror":true}"#), Some(Outcome::ToolError));
        assert_eq!(of("null"), None);
    }

    #[test]
    fn the_answer_is_told_from_other_messages() {
        let of = |text: &str| outcome(text.as_bytes(), &call());
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#), Some(Outcome::Ok));
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":7,"result":{"isError":true}}"#), Some(Outcome::ToolError));
        assert_eq!(
            of(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":""}}"#),
            Some(Outcome::RpcError(-32602))
        );
        assert_eq!(
            of(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":""}}"#),
            Some(Outcome::ServerError(-32603))
        );
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":8,"result":{}}"#), None);
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#), None);
        assert_eq!(of("nonsense"), None);
    }
}
