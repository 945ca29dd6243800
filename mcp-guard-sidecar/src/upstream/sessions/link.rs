//! The way to a node.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use mcp_guard::middleware::UpstreamError;
use tokio::sync::mpsc::Receiver;

use super::connection::Connection;
use super::line::Line;

/// Makes the connections of sessions.
#[async_trait]
pub(crate) trait Link: fmt::Debug + Send + Sync + 'static {
    /// Makes `connection`: what comes on `lines` is sent, what the node sends goes to an [`Inlet`](super::Inlet).
    /// The tasks that do so end it when there is nothing more to come, and end when it does.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::Unavailable`] if there can be no connection.
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Line>) -> Result<Keeper, UpstreamError>;

    /// Whether it wants to know how messages came: [`Line::came`].
    fn wants_heads(&self) -> bool {
        false
    }

    /// How often it is worth to try at once: each try may go another way.
    fn tries(&self) -> usize {
        1
    }
}

#[async_trait]
impl Link for Arc<dyn Link> {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Line>) -> Result<Keeper, UpstreamError> {
        (**self).connect(connection, lines).await
    }

    fn wants_heads(&self) -> bool {
        (**self).wants_heads()
    }

    fn tries(&self) -> usize {
        (**self).tries()
    }
}

/// Runs until the connection has ended and nothing of it is left.
pub(crate) type Keeper = Pin<Box<dyn Future<Output = ()> + Send>>;
