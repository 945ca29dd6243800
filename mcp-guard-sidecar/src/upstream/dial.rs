//! Connections to a node, with TLS or without.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use rustix::net::sockopt;
use tokio::net::TcpStream;

use super::network::{Network, Socket};
use crate::config::is_secure;
use crate::tls::{ClientTls, MaybeTls};

/// Where a node listens, and what is said there before anything else. Clones are the same.
#[derive(Clone, Debug)]
pub struct Dialer {
    authority: String,
    tls: Option<ClientTls>,
    /// In place of the system's.
    network: Option<Arc<dyn Network>>,
}

/// A connection to a node.
pub(crate) type NodeStream = MaybeTls<Socket>;

/// When a node is asked whether it is there, of which nothing was heard so long.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

impl Dialer {
    /// A node at this host and port.
    pub fn new(authority: impl Into<String>, tls: Option<ClientTls>) -> Self {
        Self { authority: authority.into(), tls, network: None }
    }

    /// The same over `network`, where there is one in place of the system's.
    #[must_use]
    pub fn over(self, network: Option<Arc<dyn Network>>) -> Self {
        Self { network, ..self }
    }

    /// Host and port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// How hands are shaken, if they are.
    pub(crate) fn tls(&self) -> Option<&ClientTls> {
        self.tls.as_ref()
    }

    /// Connects, and shakes hands. How long that may take is the caller's to say.
    pub(crate) async fn dial(&self) -> io::Result<NodeStream> {
        let socket = match &self.network {
            None => Socket::Left(self.connect().await?),
            Some(network) => Socket::Right(network.connect(&self.authority).await?),
        };
        match &self.tls {
            None => Ok(MaybeTls::Plain(socket)),
            Some(tls) => tls.connect(socket).await.map(MaybeTls::from),
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.authority).await?;
        // A call is one write; waiting for more to come would only delay it.
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE)?;
        Ok(stream)
    }
}

/// Why there is no connection, in the words that say most.
pub(crate) fn why(error: &io::Error) -> String {
    // An error with another one in it is that of TLS; what the system says is its kind.
    error.get_ref().map_or_else(|| error.kind().to_string(), ToString::to_string)
}

/// Host and port of `uri`, for the connection, for `Host` and for the node's name in metrics.
pub fn authority(uri: &Uri) -> String {
    let port = uri.port_u16().unwrap_or(if is_secure(uri) { 443 } else { 80 });
    format!("{}:{port}", uri.host().unwrap_or_default())
}
