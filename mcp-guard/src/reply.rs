//! What a server's message says about how a call went.

use serde::Deserialize;
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
            (None, Some(result)) => Self::Answer(of_result(result, call)),
            (None, None) => Self::Other,
        }
    }
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<ErrorCode>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ErrorCode {
    code: i64,
}

#[derive(Deserialize)]
struct ToolResult {
    #[serde(default, rename = "isError")]
    is_error: bool,
}

fn of_result(result: &RawValue, call: &Call) -> Outcome {
    let is_error = || serde_json::from_str::<ToolResult>(result.get()).is_ok_and(|result| result.is_error);
    if call.tool().is_some() && is_error() { Outcome::ToolError } else { Outcome::Ok }
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
