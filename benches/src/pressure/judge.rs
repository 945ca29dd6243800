//! Whether an answer is the one that was asked for, and what it is if not.

use std::borrow::Cow;
use std::time::Duration;

use mcp_guard::refusal::Reason;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::echo;

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Ask {
    /// `tools/call`: work, of the lowest class.
    Call,
    /// `tools/list`: a read, which goes before work.
    List,
    /// `ping`, which goes before all.
    Ping,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum End {
    /// Rightly: status, id, session and content.
    Answered,
    /// With a refusal of the guard's, for this reason.
    Refused(&'static str),
    /// Without an answer, or with an error that is none of the guard's.
    Failed(&'static str),
    /// With an answer that is not the one to this question.
    Wrong(&'static str),
}

/// A response, as far as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Response<'a> {
    pub(crate) status: u16,
    pub(crate) session: Option<&'a str>,
    pub(crate) retry_after: Option<&'a str>,
    /// The message: of a stream of events, the one that is an answer.
    pub(crate) body: Vec<u8>,
}

/// What was asked, in as far as the answer has to show it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) ask: Ask,
    pub(crate) id: u64,
    pub(crate) text: &'a str,
    pub(crate) session: &'a str,
}

/// The end, and what it says about coming back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) end: End,
    /// The `Retry-After` of the head.
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    result: Option<Value>,
    #[serde(borrow)]
    error: Option<ErrorObject<'a>>,
}

#[derive(Deserialize)]
struct ErrorObject<'a> {
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    guard: Option<Cow<'a, str>>,
}

/// Judges `response` to `question`.
pub(crate) fn judge(response: &Response<'_>, question: &Question<'_>) -> Verdict {
    let seconds = response.retry_after.and_then(|text| text.parse().ok());
    let verdict = |end| Verdict { end, retry_after: seconds.map(Duration::from_secs) };
    if response.session.is_some_and(|session| session != question.session) {
        return verdict(End::Wrong("session"));
    }
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(&response.body) else {
        let end = if response.status == 200 { End::Wrong("form") } else { End::Failed(status(response.status)) };
        return verdict(end);
    };
    let id = answer.id.map(RawValue::get);
    let is_ours = id.is_some_and(|id| id.parse() == Ok(question.id));
    match (answer.result, answer.error) {
        // What is refused before its body is read has the id null.
        (None, Some(error)) if is_ours || (response.status != 200 && id.is_none_or(|id| id == "null")) => {
            verdict(match error.data.as_ref().and_then(|data| data.guard.as_deref()) {
                Some(reason) => End::Refused(known(reason)),
                None => End::Failed("error of the node"),
            })
        }
        _ if !is_ours => verdict(End::Wrong("id")),
        (Some(result), None) if response.status == 200 && answer.jsonrpc.as_deref() == Some("2.0") => {
            verdict(if is_right(&result, question) { End::Answered } else { End::Wrong("content") })
        }
        (Some(_), _) | (None, _) => verdict(End::Wrong("form")),
    }
}

fn is_right(result: &Value, question: &Question<'_>) -> bool {
    match question.ask {
        Ask::Ping => result.as_object().is_some_and(serde_json::Map::is_empty),
        Ask::List => result.pointer("/tools/0/name").and_then(Value::as_str) == Some(echo::TOOL),
        Ask::Call => {
            let is_alone = result.get("content").and_then(Value::as_array).is_some_and(|content| content.len() == 1);
            let text = result.pointer("/content/0/text").and_then(Value::as_str);
            is_alone && text == Some(question.text) && result.get("isError") != Some(&Value::Bool(true))
        }
    }
}

/// The guard's reason by this name, which then lives as long as the program.
fn known(reason: &str) -> &'static str {
    Reason::ALL.iter().map(|known| known.as_str()).find(|known| *known == reason).unwrap_or("unknown reason")
}

fn status(status: u16) -> &'static str {
    match status {
        404 => "status 404",
        429 => "status 429",
        500 => "status 500",
        502 => "status 502",
        503 => "status 503",
        504 => "status 504",
        _ => "other status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: Question<'_> = Question { ask: Ask::Call, id: 7, text: "a/7", session: "s" };

    fn end(status: u16, session: Option<&str>, body: &str) -> End {
        judge(&Response { status, session, retry_after: None, body: body.as_bytes().to_vec() }, &QUESTION).end
    }

    fn result(id: u64, text: &str) -> String {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}}}"#
        )
    }

    #[test]
    fn only_the_own_text_under_the_own_id_in_the_own_session_is_an_answer() {
        assert_eq!(end(200, None, &result(7, "a/7")), End::Answered);
        assert_eq!(end(200, Some("s"), &result(7, "a/7")), End::Answered);
        assert_eq!(end(200, None, &result(7, "b/7")), End::Wrong("content"));
        assert_eq!(end(200, None, &result(8, "a/7")), End::Wrong("id"));
        assert_eq!(end(200, Some("t"), &result(7, "a/7")), End::Wrong("session"));
        assert_eq!(end(200, None, "{"), End::Wrong("form"));
        assert_eq!(end(503, None, &result(7, "a/7")), End::Wrong("form"));
    }

    #[test]
    fn a_refusal_has_a_reason_and_the_own_id_and_says_when_to_come_back() {
        let body = r#"{"jsonrpc":"2.0","id":7,"error":{"code":1005,"message":"m","data":{"guard":"queue_full","retryAfterMs":1500}}}"#;
        let response = Response { status: 503, session: None, retry_after: Some("2"), body: body.as_bytes().to_vec() };
        let verdict = judge(&response, &QUESTION);
        assert_eq!(verdict.end, End::Refused("queue_full"));
        assert_eq!(verdict.retry_after, Some(Duration::from_secs(2)));
        assert_eq!(end(503, None, &body.replace("\"id\":7", "\"id\":8")), End::Wrong("id"));
        assert_eq!(end(429, None, &body.replace("\"id\":7", "\"id\":null")), End::Refused("queue_full"));
    }

    #[test]
    fn what_is_no_message_is_told_by_its_status() {
        assert_eq!(end(500, None, ""), End::Failed("status 500"));
        let of_the_node = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603,"message":"m"}}"#;
        assert_eq!(end(200, None, of_the_node), End::Failed("error of the node"));
    }
}
