//! What a server's message says about how a call went.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::call::Call;
use crate::outcome::Outcome;

/// JSON-RPC 2.0, section 5.1: internal error.
const INTERNAL_ERROR: i64 = -32603;

#[derive(Deserialize)]
struct Reply<'a> {
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

/// How `call` ended, if `message` is the answer to it.
pub fn outcome(message: &[u8], call: &Call) -> Option<Outcome> {
    let reply: Reply<'_> = serde_json::from_slice(message).ok()?;
    if reply.method.is_some() || !answers(reply.id, call) {
        return None;
    }
    match (reply.error, reply.result) {
        (Some(ErrorCode { code: INTERNAL_ERROR }), _) => Some(Outcome::ServerError(INTERNAL_ERROR)),
        (Some(ErrorCode { code }), _) => Some(Outcome::RpcError(code)),
        (None, Some(result)) if call.tool().is_some() => {
            let failed = serde_json::from_str::<ToolResult>(result.get()).is_ok_and(|result| result.is_error);
            Some(if failed { Outcome::ToolError } else { Outcome::Ok })
        }
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
