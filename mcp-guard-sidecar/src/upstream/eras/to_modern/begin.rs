//! `initialize`, as a node of 2026-07-28 answers `server/discover`.

use bytes::Bytes;
use mcp_guard::revision::Revision;

use crate::upstream::eras::message::response;
use crate::upstream::eras::object::{Object, quote};

/// What the node says of itself in its `_meta`.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The answer to the `initialize` with `id` and `params`, to a node that `discovered` describes.
pub(super) fn answer(id: &str, params: &Object<'_>, discovered: &Object<'_>) -> Bytes {
    let asked = params.string("protocolVersion").and_then(|text| Revision::parse(&text));
    let revision = asked.filter(|revision| !revision.is_stateless()).unwrap_or(Revision::V2025_11_25);
    let meta = discovered.object("_meta").unwrap_or_default();
    let mut result = Object::default();
    result.set("protocolVersion", quote(revision.as_str()));
    result.set("capabilities", discovered.get("capabilities").unwrap_or("{}"));
    result.set("serverInfo", meta.get(SERVER_INFO).unwrap_or(r#"{"name":"unknown","version":""}"#));
    if let Some(instructions) = discovered.get("instructions") {
        result.set("instructions", instructions);
    }
    response(id, "result", &result.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_the_revision_that_its_client_asked_for_if_there_is_one() {
        let discovered = Object::read(r#"{"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"n","version":"2"}},"instructions":"i"}"#).unwrap();
        for (asked, given) in [("2025-03-26", "2025-03-26"), ("2026-07-28", "2025-11-25"), ("1999", "2025-11-25")] {
            let params = format!(r#"{{"protocolVersion":"{asked}"}}"#);
            let told = answer("1", &Object::read(&params).unwrap(), &discovered);
            let expected = format!(
                r#"{{"jsonrpc":"2.0","id":1,"result":{{"protocolVersion":"{given}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"n","version":"2"}},"instructions":"i"}}}}"#
            );
            assert_eq!(told, expected);
        }
    }
}
