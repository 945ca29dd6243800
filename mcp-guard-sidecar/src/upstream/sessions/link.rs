//! The way to a node.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_guard::middleware::UpstreamError;
use tokio::sync::mpsc::Receiver;

use super::session::Session;

/// Makes the connection of each session.
#[async_trait]
pub(crate) trait Link: fmt::Debug + Send + Sync + 'static {
    /// Connects `session`: what comes on `lines` is sent, what the node sends goes to an [`Inlet`](super::Inlet).
    /// The tasks that do so end the session when the connection ends, and end when the session does.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::Unavailable`] if there can be no connection.
    async fn connect(&self, session: &Arc<Session>, lines: Receiver<Bytes>) -> Result<Keeper, UpstreamError>;
}

/// Runs until the session has ended and nothing of its connection is left.
pub(crate) type Keeper = Pin<Box<dyn Future<Output = ()> + Send>>;
