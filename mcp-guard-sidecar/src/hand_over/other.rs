//! The process at the other end of a hand-over, as far as it is known.

use std::sync::Arc;

use tokio::sync::watch;

use super::link::Link;

/// Another process.
#[derive(Clone, Default)]
pub(super) enum Other {
    /// There is none, or it has no sessions.
    #[default]
    None,
    /// It may serve already, and will be asked as soon as it can be.
    Expected,
    There(Arc<Link>),
}

impl Other {
    pub(super) async fn link(other: &watch::Sender<Self>) -> Option<Arc<Link>> {
        // The sender lives as long as this, so waiting cannot fail.
        match &*other.subscribe().wait_for(|other| !matches!(other, Self::Expected)).await.ok()? {
            Self::There(link) => Some(Arc::clone(link)),
            Self::None | Self::Expected => None,
        }
    }

    pub(super) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}
