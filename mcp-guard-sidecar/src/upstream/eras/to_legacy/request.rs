//! What a request of 2026-07-28 is to a legacy node.

use mcp_guard::call::Method;
use mcp_guard::refusal::{Reason, Refusal};

use crate::upstream::eras::is_level;
use crate::upstream::eras::object::Object;

/// What the revision itself says in `_meta` begins so.
const PREFIX: &str = "io.modelcontextprotocol/";

/// What a request says of its client, each as JSON text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Introduction {
    capabilities: Box<str>,
    client_info: Box<str>,
    log_level: Option<Box<str>>,
}

impl Introduction {
    /// By the request's `params`.
    ///
    /// # Errors
    ///
    /// `invalid_params` for what no node could make a session of, or what nobody should be kept in mind by.
    pub(super) fn of(params: &Object<'_>) -> Result<Self, Refusal> {
        let meta = params.object("_meta").unwrap_or_default();
        let said = |name: &str| meta.get(&format!("{PREFIX}{name}")).filter(|value| *value != "null");
        let object = |name: &str, otherwise: &str| match said(name) {
            None => Ok(otherwise.into()),
            Some(text) if text.starts_with('{') && text.len() <= INTRODUCTION_BYTES_MAX => Ok(text.into()),
            Some(_) => {
                let detail = format!("`{name}` in `_meta` must be an object of at most {INTRODUCTION_BYTES_MAX} bytes");
                Err(Refusal::new(Reason::InvalidParams, detail))
            }
        };
        Ok(Self {
            capabilities: object("clientCapabilities", "{}")?,
            client_info: object("clientInfo", CLIENT_INFO)?,
            log_level: said("logLevel").filter(|level| is_level(level)).map(Box::from),
        })
    }

    /// The level of what it wants to be told; without one it wants to be told nothing.
    pub(super) fn log_level(&self) -> Option<&str> {
        self.log_level.as_deref()
    }

    /// What tells its sessions with the node from those of others.
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.capabilities, self.client_info)
    }

    /// The `params` of `initialize`.
    pub(super) fn initialize(&self, version: &str) -> String {
        let Self { capabilities, client_info, .. } = self;
        format!(r#"{{"protocolVersion":"{version}","capabilities":{capabilities},"clientInfo":{client_info}}}"#)
    }

    /// Whether it can be asked with `method`.
    pub(super) fn can_answer(&self, method: &str) -> bool {
        let name = match method {
            "roots/list" => "roots",
            "sampling/createMessage" => "sampling",
            "elicitation/create" => "elicitation",
            _ => return false,
        };
        Object::read(&self.capabilities).is_some_and(|capabilities| capabilities.has(name))
    }
}

/// As much as a client may say of itself: its sessions are told from those of others by it.
const INTRODUCTION_BYTES_MAX: usize = 16 << 10;

/// Who does not say who he is: legacy nodes must be told.
const CLIENT_INFO: &str = concat!(r#"{"name":"mcp-guard","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// `params` without what a legacy node does not know.
pub(super) fn params(mut params: Object<'_>) -> String {
    params.change("_meta", |meta| meta.retain(|name| !name.starts_with(PREFIX)));
    for name in ["inputResponses", "requestState"] {
        params.take(name);
    }
    params.to_string()
}

/// Whether the stateless revision has no such method, though older ones do.
pub(super) fn is_gone(method: &Method) -> bool {
    [
        Method::INITIALIZE,
        Method::PING,
        Method::LOGGING_SET_LEVEL,
        Method::RESOURCES_SUBSCRIBE,
        Method::RESOURCES_UNSUBSCRIBE,
        Method::TASKS_GET,
        Method::TASKS_LIST,
        Method::TASKS_RESULT,
        Method::TASKS_CANCEL,
    ]
    .iter()
    .any(|gone| method.is(gone))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: &str = r#"{"name":"a","arguments":{"requestState":1},"requestState":"s","inputResponses":{},
        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","progressToken":7,
        "io.modelcontextprotocol/clientCapabilities":{"roots":{}},"traceparent":"t"}}"#;

    #[test]
    fn a_legacy_node_gets_what_it_knows() {
        let known = r#"{"name":"a","arguments":{"requestState":1},"_meta":{"progressToken":7,"traceparent":"t"}}"#;
        assert_eq!(params(Object::read(PARAMS).unwrap()), known);
        assert_eq!(params(Object::read(r#"{"_meta":{}}"#).unwrap()), "{}");
    }

    #[test]
    fn a_client_is_introduced_as_it_introduces_itself() {
        let introduction = Introduction::of(&Object::read(PARAMS).unwrap()).unwrap();
        assert!(introduction.can_answer("roots/list") && !introduction.can_answer("sampling/createMessage"));
        let initialize = introduction.initialize("2025-11-25");
        let initialize = Object::read(&initialize).unwrap();
        assert_eq!(initialize.get("capabilities"), Some(r#"{"roots":{}}"#));
        assert!(initialize.object("clientInfo").unwrap().has("version"));
        assert_eq!(introduction.log_level(), None);
        for meta in
            [r#"{"io.modelcontextprotocol/clientInfo":5}"#, r#"{"io.modelcontextprotocol/clientCapabilities":[]}"#]
        {
            let params = format!(r#"{{"_meta":{meta}}}"#);
            assert!(Introduction::of(&Object::read(&params).unwrap()).is_err(), "{meta}");
        }
    }
}
