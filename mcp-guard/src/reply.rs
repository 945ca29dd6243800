//! What a server's message says about how a call went.

use crate::call::Call;
use crate::json::Scanner;
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
        let Some(members) = std::str::from_utf8(message).ok().and_then(Members::read) else { return Self::Unreadable };
        if members.has_method || !answers(members.id, call) {
            return Self::Other;
        }
        match (members.error, members.result) {
            (Some(INTERNAL_ERROR), _) => Self::Answer(Outcome::ServerError(INTERNAL_ERROR)),
            (Some(code), _) => Self::Answer(Outcome::RpcError(code)),
            (None, Some(result)) if call.tool().is_some() && result.is_error => Self::Answer(Outcome::ToolError),
            (None, Some(_)) => Self::Answer(Outcome::Ok),
            (None, None) => Self::Other,
        }
    }
}

/// What is looked at of a message. It is read once, and what is large in it, the result, is only passed over.
#[derive(Default)]
struct Members<'a> {
    id: Option<&'a str>,
    has_method: bool,
    error: Option<i64>,
    result: Option<ResultOf>,
}

/// A result, of which only the member `isError` is looked at; any JSON but `null` is one.
#[derive(Default)]
struct ResultOf {
    is_error: bool,
}

impl<'a> Members<'a> {
    /// The members of `message`; `None` if it is no JSON object, names one of them twice, or has an error without a code.
    fn read(message: &'a str) -> Option<Self> {
        let mut scanner = Scanner::new(message);
        let mut members = Self::default();
        let mut seen = [false; 4];
        scanner.object(|scanner, name| {
            let index = NAMES.iter().position(|known| *known == name);
            if index.and_then(|index| seen.get_mut(index)).is_some_and(|seen| std::mem::replace(seen, true)) {
                return None;
            }
            match (index, scanner.peek()?) {
                (None, _) | (_, b'n') => drop(scanner.skip().ok()?),
                (Some(0), _) => members.id = Some(scanner.skip().ok()?),
                (Some(1), _) => {
                    scanner.skip().ok()?;
                    members.has_method = true;
                }
                (Some(2), _) => members.error = Some(code(scanner)?),
                (Some(_), first) => members.result = Some(result(scanner, first)?),
            }
            Some(())
        })?;
        scanner.peek().is_none().then_some(members)
    }
}

const NAMES: [&str; 4] = ["id", "method", "error", "result"];

fn code(scanner: &mut Scanner<'_>) -> Option<i64> {
    let mut code = None;
    scanner.object(|scanner, name| {
        let value = scanner.skip().ok()?;
        if name == "code" {
            code = Some(value.parse().ok()?);
        }
        Some(())
    })?;
    code
}

fn result(scanner: &mut Scanner<'_>, first: u8) -> Option<ResultOf> {
    let mut result = ResultOf::default();
    if first != b'{' {
        scanner.skip().ok()?;
        return Some(result);
    }
    scanner.object(|scanner, name| {
        let value = scanner.skip().ok()?;
        if name == "isError" {
            result.is_error = value == "true";
        }
        Some(())
    })?;
    Some(result)
}

/// Whether `id` is the call's. An error without an id can only mean the one call that is answered.
fn answers(id: Option<&str>, call: &Call) -> bool {
    match (id, call.id.as_deref()) {
        (None, _) => true,
        (Some(id), Some(own)) => same_id(id, own),
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
