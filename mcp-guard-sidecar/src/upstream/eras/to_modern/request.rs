//! What a legacy request is to a node of 2026-07-28.

use http::header::{HeaderMap, HeaderValue};
use mcp_guard::call::Method;
use mcp_guard::middleware::header_value;
use mcp_guard::middleware::headers::{METHOD, NAME};
use mcp_guard::revision::Revision;

use crate::upstream::eras::object::{Object, quote};

/// Who a client is, each as JSON text.
#[derive(Clone, Debug)]
pub(super) struct Introduction {
    pub(super) capabilities: Box<str>,
    pub(super) client_info: Option<Box<str>>,
    /// How much it wants to be told.
    pub(super) log_level: Box<str>,
}

impl Default for Introduction {
    fn default() -> Self {
        // A legacy client that sets no level is told what the server thinks fit.
        Self { capabilities: "{}".into(), client_info: None, log_level: r#""info""#.into() }
    }
}

impl Introduction {
    /// By the `params` of `initialize`.
    pub(super) fn of(params: &Object<'_>) -> Self {
        let text = |name: &str| params.get(name).filter(|value| *value != "null").map(Box::from);
        Self {
            capabilities: text("capabilities").unwrap_or_else(|| "{}".into()),
            client_info: text("clientInfo"),
            ..Self::default()
        }
    }

    /// `params` with who asks, and the answers to what the node has asked.
    pub(super) fn introduce(&self, params: &str, answers: Option<&Answers>) -> String {
        let mut params = Object::read(params).unwrap_or_default();
        params.change("_meta", |meta| {
            meta.set("io.modelcontextprotocol/protocolVersion", quote(Revision::V2026_07_28.as_str()));
            meta.set("io.modelcontextprotocol/clientCapabilities", self.capabilities.to_string());
            if let Some(client_info) = &self.client_info {
                meta.set("io.modelcontextprotocol/clientInfo", client_info.to_string());
            }
            meta.set("io.modelcontextprotocol/logLevel", self.log_level.to_string());
        });
        if let Some(Answers { responses, state }) = answers {
            params.set("inputResponses", &**responses);
            if let Some(state) = state {
                params.set("requestState", &**state);
            }
        }
        params.to_string()
    }
}

/// What the client has answered, and what the node wants to see again, as JSON text.
pub(super) struct Answers {
    pub(super) responses: String,
    pub(super) state: Option<String>,
}

/// The headers that say what `params` of `method` say.
pub(super) fn headers(method: &str, params: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.extend(HeaderValue::try_from(method).map(|method| (METHOD, method)));
    let name = match method {
        Method::TOOLS_CALL | Method::PROMPTS_GET => "name",
        Method::RESOURCES_READ => "uri",
        _ => return headers,
    };
    let named = Object::read(params).and_then(|params| header_value(&params.string(name)?));
    headers.extend(named.map(|named| (NAME, named)));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_says_who_asks_and_what() {
        let introduction =
            Introduction::of(&Object::read(r#"{"capabilities":{"roots":{}},"clientInfo":{"name":"c"}}"#).unwrap());
        let answers = Answers { responses: r#"{"a":{}}"#.into(), state: Some(r#""s""#.into()) };
        let params = introduction.introduce(r#"{"name":"ä","_meta":{"progressToken":1}}"#, Some(&answers));
        assert_eq!(
            params,
            r#"{"name":"ä","_meta":{"progressToken":1,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/clientInfo":{"name":"c"},"io.modelcontextprotocol/logLevel":"info"},"inputResponses":{"a":{}},"requestState":"s"}"#
        );
        let headers = headers("tools/call", &params);
        assert_eq!(
            (&headers[METHOD], &headers[NAME]),
            (&"tools/call".parse().unwrap(), &"=?base64?w6Q=?=".parse().unwrap())
        );
        assert!(!super::headers("tools/list", "{}").contains_key(NAME));
    }
}
