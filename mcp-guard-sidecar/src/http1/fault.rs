//! What may go wrong with a connection.

use std::io;

use thiserror::Error;

/// Why a connection of HTTP/1 could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Http1Error {
    /// The system says so.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The other end closed it, and more was due.
    #[error("the connection closed in the middle of a message")]
    Cut,
    /// What came is not HTTP/1.1, or could be read in two ways.
    #[error("not HTTP/1.1: {0}")]
    Malformed(&'static str),
    /// The head of a message is larger than a head may be.
    #[error("the head is too large")]
    HeadTooLarge,
    /// The other end did not take what was sent.
    #[error("the client takes nothing any more")]
    Stalled,
}
