//! The guard's own `tools/list`, in the name of the call that needs it.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http_body::Body;
use serde_json::{Map, Value, json};

use super::results::result_of;
use crate::call::{Call, Kind, Method};
use crate::json::Json;
use crate::middleware::headers::{METHOD, NAME};
use crate::middleware::{Answer, GuardBody, McpRequest};
use crate::revision::Revision;

const PARAM_PREFIX: &str = "mcp-param-";

/// Asks for the page at `cursor`: with the session, revision and credentials of `caller`, whose `_meta` is `meta`.
pub(super) fn request(caller: &McpRequest, meta: Option<Json<'_>>, number: u64, cursor: Option<&str>) -> McpRequest {
    let mut params = Map::new();
    params.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor.into())));
    if caller.call.revision.is_stateless() {
        params.extend(meta.map(|meta| ("_meta".to_owned(), without_progress(meta.to_value()))));
    }
    // `params` is there even if empty: without it, erlmcp's session dies.
    let params = Value::Object(params).to_string();
    let id = json!(format!("mcp-guard-list-{number}")).to_string();
    let start = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/list\",\"params\":");
    let range = start.len()..start.len() + params.len();
    let body = format!("{start}{params}}}");

    let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_LIST), caller.call.revision);
    call.id = Some(id.into());
    call.params = Some(range);
    call.session.clone_from(&caller.call.session);
    call.client = caller.call.client;
    call.subject.clone_from(&caller.call.subject);
    call.guards_own = true;
    let mut request = caller.clone();
    request.head = Arc::new(head(&caller.head, call.revision));
    request.body = Bytes::from(body);
    request.tape = None;
    request.call = Arc::new(call);
    request
}

/// The caller's head, saying of the method and its parameters what is true of the list.
fn head(caller: &Parts, revision: Revision) -> Parts {
    let mut head = caller.clone();
    let of_params = |name: &&HeaderName| name.as_str().starts_with(PARAM_PREFIX);
    let mut gone: Vec<HeaderName> = head.headers.keys().filter(of_params).cloned().collect();
    gone.extend([NAME, METHOD, header::CONTENT_LENGTH, header::CONTENT_ENCODING]);
    for name in gone {
        head.headers.remove(name);
    }
    if revision.is_stateless() {
        head.headers.insert(METHOD, HeaderValue::from_static(Method::TOOLS_LIST));
    }
    head
}

/// The call's `_meta` but for its progress token, which means the call alone.
fn without_progress(mut meta: Value) -> Value {
    if let Some(members) = meta.as_object_mut() {
        members.shift_remove("progressToken");
    }
    meta
}

/// Whether an answer with `status` speaks about the caller rather than the node: then others may fare better.
///
/// Up to 2025-11-25, 400 and 404 are what a missing or dead session gets.
pub(super) fn is_callers_fault(status: u16, revision: Revision) -> bool {
    matches!(status, 401 | 403) || (matches!(status, 400 | 404) && !revision.is_stateless())
}

/// The result that `answer` has for `call`: at once if it is whole, else as soon as the stream has brought it.
pub(super) async fn result<B>(mut answer: Answer<B>, call: &Arc<Call>) -> Option<String>
where
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let found = Arc::new(Mutex::new(None));
    let (place, of) = (Arc::clone(&found), Arc::clone(call));
    answer.on_message(move |message| {
        if let Some(result) = result_of(message, &of) {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result.to_owned());
        }
        None
    });
    let take = || found.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut body: std::pin::Pin<&mut GuardBody<B>> = pin!(answer.into_body());
    loop {
        if let Some(result) = take() {
            return Some(result);
        }
        match std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return take(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(revision: Revision) -> McpRequest {
        let request = http::Request::post("/mcp")
            .header("authorization", "Bearer x")
            .header("mcp-session-id", "s")
            .header("mcp-method", "tools/call")
            .header("mcp-name", "add")
            .header("mcp-param-a", "1")
            .header("content-length", "9999");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), revision);
        call.session = Some("s".into());
        McpRequest::new(Arc::new(head), Bytes::new(), Arc::new(call))
    }

    fn ask(caller: &McpRequest, meta: &Value, number: u64, cursor: Option<&str>) -> McpRequest {
        let text = meta.to_string();
        let tape = crate::json::Tape::read(&text, 8).unwrap();
        request(caller, Some(tape.root(&text)), number, cursor)
    }

    #[test]
    fn a_list_is_asked_for_in_the_session_and_with_the_credentials_of_the_caller() {
        let list = ask(&caller(Revision::V2025_11_25), &json!({"progressToken": 1}), 3, None);
        assert_eq!(list.body, r#"{"jsonrpc":"2.0","id":"mcp-guard-list-3","method":"tools/list","params":{}}"#);
        assert_eq!((list.call.session.as_deref(), list.call.guards_own), (Some("s"), true));
        let names: Vec<_> = list.head.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["authorization", "mcp-session-id"]);
    }

    #[test]
    fn a_stateless_list_has_the_callers_meta_and_its_own_method_header() {
        let meta = json!({"progressToken": 1, "io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        let list = ask(&caller(Revision::V2026_07_28), &meta, 1, Some("p2"));
        let params: Value = serde_json::from_slice(&list.body[list.call.params.clone().unwrap()]).unwrap();
        let expected = json!({"cursor": "p2", "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}});
        assert_eq!(params, expected);
        assert_eq!(list.head.headers["mcp-method"], "tools/list");
        assert!(!list.head.headers.contains_key("mcp-name"));
    }
}
