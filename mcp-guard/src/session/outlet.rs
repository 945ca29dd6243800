//! Where messages of the node go.

use bytes::Bytes;

/// Someone who waits for messages of the node: a POST for its answer, or a GET for whatever comes.
///
/// The adapter implements it with a bounded queue. Neither method may wait.
pub trait Outlet {
    /// Hands `message` over.
    ///
    /// # Errors
    ///
    /// Gives it back if there is no room for it, or nobody any more.
    fn offer(&self, message: Message) -> Result<(), Message>;

    /// Says that nothing comes after what was handed over.
    fn finish(&self, end: End);
}

/// A request or a notification of the node.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "passed on by adapters, which make none")]
pub struct Message {
    /// Its JSON text, one line.
    pub line: Bytes,
    /// Its id as JSON text, if it is a request.
    pub id: Option<Box<str>>,
}

/// How waiting ends.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "adapters must say what they do with each")]
pub enum End {
    /// With the answer.
    Answered(Bytes),
    /// The client said that it no longer wants an answer.
    Cancelled,
    /// The session ended before the answer came.
    Broken,
    /// The node was gone before the answer came, and the session goes on with another.
    Replaced,
    /// Nothing more comes on this stream, and nothing was owed.
    Closed,
}
