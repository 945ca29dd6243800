//! Which revisions of MCP a node speaks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which revisions of MCP a node speaks: the stateless one, 2026-07-28, or the legacy ones before it, which have sessions.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Era {
    /// Behind an `http` URL, what the node itself says when a client comes whose revision it may not speak; else `legacy`.
    #[default]
    Auto,
    /// Only legacy ones: clients of the stateless revision are served in sessions that the guard keeps for them.
    Legacy,
    /// Only the stateless one, behind an `http` URL: legacy clients are served in sessions of the guard's own.
    Stateless,
    /// Nothing is translated: a client and a node that have no revision in common are told so.
    AsIs,
}
