//! What becomes of sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the guard's own sessions with a node: those over `sse+http`, `ws`, `tcp`, `unix` and stdio.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Sessions {
    /// What happens when a session's node is gone.
    pub failover: Failover,
}

/// What happens when a session's node is gone.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failover {
    /// The session ends; its client has to initialize anew.
    Off,
    /// Another connection is made, or another child started; it is sent the client's own initialize, log level and
    /// subscriptions, and the session goes on.
    #[default]
    Reinitialize,
}
