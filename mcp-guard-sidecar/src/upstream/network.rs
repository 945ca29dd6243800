//! How connections to nodes come about: over the system's network, or over one that a simulation puts in its place.

use std::fmt;
use std::io;
use std::pin::Pin;

use pingora::protocols::Stream;
use tokio::net::TcpStream;
use tokio_util::either::Either;

/// A network other than the system's.
pub trait Network: fmt::Debug + Send + Sync {
    /// Connects to host and port.
    fn connect(&self, authority: &str) -> Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;
}

/// A connection over the system's network, or over another.
pub(crate) type Socket = Either<TcpStream, Stream>;
