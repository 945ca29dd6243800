//! Nodes that speak JSON lines over a TCP or a Unix socket, one connection for each [session](super::sessions).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use mcp_guard::middleware::UpstreamError;
use tokio::net::UnixStream;
use tokio::sync::mpsc::Receiver;

use super::dial::Dialer;
use super::sessions::{Connection, Keeper, Line, Link, serve_lines};

/// Where a node listens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SocketAddress {
    /// What makes the connections to host and port.
    Tcp(Dialer),
    /// A file.
    Unix(PathBuf),
}

#[async_trait]
impl Link for SocketAddress {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Line>) -> Result<Keeper, UpstreamError> {
        self.serve(connection, lines)
            .await
            .map_err(|error| UpstreamError::Unavailable(format!("no connection: {}", error.kind())))?;
        let connection = Arc::clone(connection);
        Ok(Box::pin(async move { connection.ended().await }))
    }
}

impl SocketAddress {
    async fn serve(&self, connection: &Arc<Connection>, lines: Receiver<Line>) -> io::Result<()> {
        match self {
            Self::Tcp(dialer) => {
                let (reader, writer) = tokio::io::split(dialer.dial().await?);
                serve_lines(connection, reader, writer, lines);
            }
            Self::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                serve_lines(connection, reader, writer, lines);
            }
        }
        Ok(())
    }
}
