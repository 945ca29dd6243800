//! What requests are served with, until a reload puts another in its place.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mcp_guard::middleware::McpService;

use crate::activity::Silence;
use crate::clients::Doors;
use crate::resume::Resumption;

/// What the requests of a listener on one core are served with.
pub struct Setup<H> {
    /// The stack.
    pub service: McpService<H>,
    /// How long a connection may be silent that comes now.
    pub silence: Silence,
    /// What is served beside Streamable HTTP.
    pub doors: Option<Arc<Doors>>,
    /// How streams can be resumed.
    pub resumption: Option<Arc<Resumption>>,
}

impl<H> Setup<H> {
    /// The stack alone.
    pub fn new(service: McpService<H>, silence: Silence) -> Self {
        Self { service, silence, doors: None, resumption: None }
    }

    /// The one that counts, until another is put in its place.
    pub fn current(self) -> Current<H> {
        Arc::new(ArcSwap::from_pointee(self))
    }
}

impl<H> fmt::Debug for Setup<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("doors", &self.doors).finish_non_exhaustive()
    }
}

/// The setup that counts now, shared by all who serve with it.
pub type Current<H> = Arc<ArcSwap<Setup<H>>>;
