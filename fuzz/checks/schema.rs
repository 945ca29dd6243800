//! A schema compiles or has a fault; arguments are checked in bounded time and space.

use mcp_guard::json::Tape;
use mcp_guard::limits::JSON_DEPTH_MAX;
use mcp_guard::validation::{ToolSchema, VIOLATIONS_MAX};

/// Takes the first line as a schema, and the rest as the arguments to check by it.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (schema, arguments) = text.split_once('\n').unwrap_or((text, "{}"));
    let Ok(schema) = ToolSchema::compile(schema) else { return };
    let Ok(tape) = Tape::read(arguments, JSON_DEPTH_MAX) else { return };
    let violations = schema.check(tape.root(arguments));
    assert!(violations.len() <= VIOLATIONS_MAX);
}
