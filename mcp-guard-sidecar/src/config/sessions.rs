//! What becomes of sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of sessions when their node is gone.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Sessions {
    /// What happens when a session's node is gone. Default: `off` beside an `http` URL, whose node's sessions are passed
    /// through, else `reinitialize`. With that, those of an `http` node are the guard's own too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,
}

/// What happens when a session's node is gone.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Failover {
    /// The session ends; its client has to initialize anew.
    Off,
    /// Another connection is made, or another child started; it is sent the client's own initialize, log level and
    /// subscriptions, and the session goes on.
    Reinitialize,
}
