//! A message on its way to a node, with how it came.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::request::Parts;

/// A message for a node, on one line.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) text: Bytes,
    /// How it came, where the link wants to know, if it is the client's and not the guard's in its name.
    pub(crate) came: Option<Came>,
    /// The number of its ticket, if it is a request.
    pub(super) ticket: Option<u64>,
}

/// How a message came.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    /// The head of its request.
    pub(crate) head: Arc<Parts>,
    /// When its answer must have begun.
    pub(crate) until: Instant,
}

impl Came {
    /// The kinds of credentials that it brought.
    pub(super) fn credentials(&self) -> impl Iterator<Item = HeaderName> {
        CREDENTIALS.into_iter().filter(|name| self.head.headers.contains_key(name))
    }
}

/// Fields by which nodes know who calls.
pub(crate) const CREDENTIALS: [HeaderName; 3] =
    [header::AUTHORIZATION, header::COOKIE, HeaderName::from_static("x-api-key")];

impl Line {
    pub(super) fn new(text: Bytes, came: Option<Came>) -> Self {
        Self { text, came, ticket: None }
    }
}

impl From<Bytes> for Line {
    fn from(text: Bytes) -> Self {
        Self::new(text, None)
    }
}

impl From<Line> for Bytes {
    fn from(line: Line) -> Self {
        line.text
    }
}
