//! Connections to a node, with TLS or without.

use std::io;
use std::time::Duration;

use http::Uri;
use rustix::net::sockopt;
use tokio::net::TcpStream;

use crate::config::is_secure;
use crate::tls::{ClientTls, MaybeTls};

/// Where a node listens, and what is said there before anything else. Clones are the same.
#[derive(Clone, Debug)]
pub struct Dialer {
    authority: String,
    tls: Option<ClientTls>,
}

/// A connection to a node.
pub(crate) type NodeStream = MaybeTls<TcpStream>;

/// When a node is asked whether it is there, of which nothing was heard so long.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

impl Dialer {
    /// A node at this host and port.
    pub fn new(authority: impl Into<String>, tls: Option<ClientTls>) -> Self {
        Self { authority: authority.into(), tls }
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
        let stream = TcpStream::connect(&self.authority).await?;
        // A call is one write; waiting for more to come would only delay it.
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE)?;
        match &self.tls {
            None => Ok(MaybeTls::Plain(stream)),
            Some(tls) => tls.connect(stream).await.map(MaybeTls::from),
        }
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
