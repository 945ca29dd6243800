//! `Mcp-Param-*`: arguments that a tool's schema wants to see in headers too (2026-07-28, `x-mcp-header`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{HeaderMap, HeaderName};
use mcp_guard::middleware::{header_text, header_value};
use mcp_guard::refusal::{Reason, Refusal};
use serde_json::Value;

/// Tools whose headers are remembered.
const TOOLS_MAX: usize = 10_000;

/// How deep an argument may lie.
const DEPTH_MAX: usize = 8;

/// An argument: where it lies, and the header that says it.
#[derive(Debug)]
struct Param {
    path: Vec<String>,
    header: HeaderName,
}

/// What headers the tools want.
#[derive(Debug, Default)]
pub(super) struct Tools(Mutex<HashMap<String, Arc<Vec<Param>>>>);

impl Tools {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Vec<Param>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets them: other nodes have other tools.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    /// The headers of a call with `params`, as far as its tool is known: each with its text, if the argument is there.
    fn wanted(&self, params: &str) -> Vec<(HeaderName, Option<String>)> {
        if self.lock().is_empty() {
            return Vec::new();
        }
        let Ok(params) = serde_json::from_str::<Value>(params) else { return Vec::new() };
        let known = member(&params, "name").as_str().and_then(|tool| self.lock().get(tool).cloned());
        let text = |path: &[String]| match path
            .iter()
            .try_fold(member(&params, "arguments"), |value, name| value.get(name))?
        {
            Value::String(text) => Some(text.clone()),
            other @ (Value::Number(_) | Value::Bool(_)) => Some(other.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        known.iter().flat_map(|params| params.iter()).map(|param| (param.header.clone(), text(&param.path))).collect()
    }

    /// The headers for a call with `params`.
    pub(super) fn headers(&self, params: &str) -> HeaderMap {
        let said = |(header, text): (HeaderName, Option<String>)| Some((header, header_value(&text?)?));
        self.wanted(params).into_iter().filter_map(said).collect()
    }

    /// Compares the headers of a call with its `params`.
    pub(super) fn check(&self, headers: &HeaderMap, params: &str) -> Result<(), Refusal> {
        for (header, text) in self.wanted(params) {
            let said = headers.get(&header).map(header_text);
            let agree = match (&said, &text) {
                (Some(said), Some(text)) => said.as_ref() == Some(text),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            if !agree {
                let detail = format!("`{header}` is not what the tool's argument says");
                return Err(Refusal::new(Reason::HeaderMismatch, detail).with("header", header.as_str()));
            }
        }
        Ok(())
    }

    /// Notes what a page of the node's list says, the JSON text of a result.
    pub(super) fn learn(&self, page: &str) {
        // Nearly no list has any.
        if !page.contains("x-mcp-header") && self.lock().is_empty() {
            return;
        }
        let page: Value = serde_json::from_str(page).unwrap_or_default();
        for tool in member(&page, "tools").as_array().into_iter().flatten() {
            let mut wanted = Vec::new();
            find(member(tool, "inputSchema"), &mut Vec::new(), &mut wanted);
            let Some(name) = member(tool, "name").as_str() else { continue };
            let mut known = self.lock();
            if wanted.is_empty() {
                known.remove(name);
            } else if known.len() < TOOLS_MAX || known.contains_key(name) {
                known.insert(name.to_owned(), Arc::new(wanted));
            }
        }
    }
}

fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

/// Looks through the properties of `schema`, which lies at `path`.
fn find(schema: &Value, path: &mut Vec<String>, wanted: &mut Vec<Param>) {
    let Some(properties) = member(schema, "properties").as_object().filter(|_| path.len() < DEPTH_MAX) else { return };
    for (name, property) in properties {
        path.push(name.clone());
        let header = member(property, "x-mcp-header")
            .as_str()
            .map(|suffix| format!("mcp-param-{}", suffix.to_ascii_lowercase()));
        if let Some(Ok(header)) = header.map(HeaderName::try_from) {
            wanted.push(Param { path: path.clone(), header });
        }
        find(property, path, wanted);
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_said_in_headers_where_the_schema_wants_it() {
        let tools = Tools::default();
        let text = |value: &str| json!({"type": "string", "x-mcp-header": value});
        let schema = json!({"properties": {"region": text("Region"), "deep": {"properties": {"n": text("N")}}, "none": text("X")}});
        let page = json!({"tools": [{"name": "t", "inputSchema": schema}, {"name": "u", "inputSchema": {}}]});
        tools.learn(&page.to_string());
        let params = r#"{"name":"t","arguments":{"region":"zürich","deep":{"n":1.5},"other":1}}"#;
        let mut headers = tools.headers(params);
        assert_eq!((headers.len(), &headers["mcp-param-n"]), (2, &"1.5".parse().unwrap()));
        assert_eq!(headers["mcp-param-region"], "=?base64?esO8cmljaA==?=");
        tools.check(&headers, params).unwrap();
        assert!(tools.headers(r#"{"name":"u","arguments":{"region":"a"}}"#).is_empty());

        headers.insert("mcp-param-n", "1.6".parse().unwrap());
        assert_eq!(tools.check(&headers, params).unwrap_err().reason(), Reason::HeaderMismatch);
        headers.remove("mcp-param-n");
        assert!(tools.check(&headers, params).is_err(), "one is missing");
        tools.learn(r#"{"tools":[{"name":"t","inputSchema":{}}]}"#);
        tools.check(&headers, params).unwrap();
    }
}
