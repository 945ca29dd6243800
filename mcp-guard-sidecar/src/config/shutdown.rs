//! How the guard ends.

use std::path::PathBuf;
use std::time::Duration;

use mcp_guard::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the guard ends once it is asked to.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Shutdown {
    /// How long everybody is still served after readiness went off, on connections that close after each answer: as
    /// long as load balancers take to notice. 0s turns new connections away at once, as suits a `preStop` sleep.
    pub lame_duck: Span,
    /// How long calls that were accepted may still run. Keep it below the time that the orchestrator grants.
    pub drain: Span,
    /// How long what is left may take to close after that, child processes among it, before it is killed.
    pub grace: Span,
    /// A Unix socket at which this process hands its listening sockets to its successor (SIGQUIT, `run --upgrade`), and its
    /// sessions beside it at the same path with `.sessions` behind, in a folder that nobody else may enter; default: there is no
    /// hand-over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hand_over: Option<PathBuf>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            lame_duck: Span(Duration::ZERO),
            drain: Span(Duration::from_secs(30)),
            grace: Span(Duration::from_secs(5)),
            hand_over: None,
        }
    }
}
