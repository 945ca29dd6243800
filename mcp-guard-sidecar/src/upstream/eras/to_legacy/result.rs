//! What a legacy node's answer is to a client of 2026-07-28.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use mcp_guard::call::Method;

use crate::upstream::eras::message::{INVALID_PARAMS, METHOD_NOT_FOUND, response};
use crate::upstream::eras::object::Object;

/// What a legacy node says of a resource that there is not.
const RESOURCE_NOT_FOUND: &str = "-32002";

/// The answer to the request `id` with `method`, by the node that calls itself `server_info`; all are JSON text.
/// `None` if `message` is no answer.
pub(super) fn answer(message: &[u8], id: &str, method: &Method, server_info: &str) -> Option<(StatusCode, Bytes)> {
    let message = Object::of(message)?;
    if let Some(error) = message.get("error") {
        let (status, error) = failure(error);
        return Some((status, response(id, "error", &error)));
    }
    let result = message.get("result")?;
    let result =
        Object::read(result).map_or(Cow::Borrowed(result), |result| complete(result, method, server_info).into());
    Some((StatusCode::OK, response(id, "result", &result)))
}

/// A result says that it is one, by whom, and where it may be kept.
pub(super) fn complete(mut result: Object<'_>, method: &Method, server_info: &str) -> String {
    result.set_absent("resultType", r#""complete""#);
    if CACHEABLE.iter().any(|cacheable| method.is(cacheable)) {
        // The node says nothing of it, and may answer another time, or another client, otherwise.
        result.set_absent("ttlMs", "0");
        result.set_absent("cacheScope", r#""private""#);
    }
    result.change("_meta", |meta| meta.set_absent("io.modelcontextprotocol/serverInfo", server_info.to_owned()));
    result.to_string()
}

/// Results with `ttlMs` and `cacheScope`.
const CACHEABLE: [&str; 6] = [
    Method::TOOLS_LIST,
    Method::PROMPTS_LIST,
    Method::RESOURCES_LIST,
    Method::RESOURCES_TEMPLATES_LIST,
    Method::RESOURCES_READ,
    Method::SERVER_DISCOVER,
];

/// An error with the code that the revision has for it, and the status that goes with that.
fn failure(error: &str) -> (StatusCode, Cow<'_, str>) {
    let Some(mut fields) = Object::read(error) else { return (StatusCode::OK, error.into()) };
    if fields.get("code") == Some(RESOURCE_NOT_FOUND) {
        fields.set("code", INVALID_PARAMS.to_string());
    }
    let code = fields.get("code").and_then(|code| code.parse().ok()).unwrap_or_default();
    (status(code), fields.to_string().into())
}

/// The status of an answer that is an error.
pub(super) fn status(code: i64) -> StatusCode {
    match code {
        METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        INVALID_PARAMS | -32700 | -32600 | -32022..=-32020 => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = r#"{"name":"n","version":"1"}"#;

    fn told(message: &str, method: &str) -> (u16, String) {
        let (status, told) = answer(message.as_bytes(), "9", &Method::new(method), SERVER).unwrap();
        (status.as_u16(), String::from_utf8(told.to_vec()).unwrap())
    }

    #[test]
    fn a_result_says_what_it_is_and_lists_say_how_long_they_hold() {
        let (status, told) = told(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[1.0]}}"#, Method::TOOLS_LIST);
        assert_eq!(status, 200);
        assert_eq!(
            told,
            r#"{"jsonrpc":"2.0","id":9,"result":{"tools":[1.0],"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"n","version":"1"}}}}"#
        );
    }

    #[test]
    fn a_calls_result_is_not_for_keeping_and_its_meta_stays() {
        let (_, told) = told(r#"{"id":1,"result":{"content":[],"_meta":{"a":1}}}"#, Method::TOOLS_CALL);
        assert!(!told.contains("ttlMs") && told.contains(r#""_meta":{"a":1,"#), "{told}");
    }

    #[test]
    fn errors_have_the_codes_and_statuses_of_the_revision() {
        let of =
            |code: i64| told(&format!(r#"{{"id":1,"error":{{"code":{code},"message":"m"}}}}"#), Method::TOOLS_CALL);
        assert_eq!(of(-32002).0, 400);
        assert!(of(-32002).1.contains("-32602"));
        assert_eq!((of(-32601).0, of(-32602).0, of(-32603).0, of(1056).0), (404, 400, 200, 200));
    }
}
