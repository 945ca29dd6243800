//! Nodes that hold one conversation over each connection, served as Streamable HTTP: sessions of the guard's own.
//!
//! ```text
//! POST initialize ─▶ a connection is made, or a process started ─▶ its answer, with an `Mcp-Session-Id` of the guard's own
//! POST            ─▶ one message in ─▶ the message that answers it (JSON), or all that comes before it too (SSE)
//! GET             ─▶ what the node says of its own accord (SSE)
//! DELETE          ─▶ the connection is closed, the process ended
//! ```
//!
//! | when                                         | what happens                                                        |
//! |----------------------------------------------|---------------------------------------------------------------------|
//! | the node closes the connection, or exits     | another is made, and the session goes on there (`keeper.rs`, ADR 0014) |
//! | it does not answer `initialize` in time      | the connection is closed; `deadline_exceeded`                       |
//! | it closes before that                        | `upstream_unavailable`                                              |
//! | a call is not answered in `first_byte`       | `deadline_exceeded`; its id stays taken until the node answers       |
//! | the client leaves                            | the call goes on, its answer is dropped (no revision with sessions cancels so) |
//! | the client cancels                           | the notification is passed on; the waiting POST ends with 202 and no body, or with error -32800 where it is a stream already. SDKs ignore both, as they no longer wait |
//! | the session is silent for `session_idle`     | the connection is closed. A call in flight or an open stream is not silent |
//! | the node does not read                       | calls wait, and give up after `first_byte`; a few messages are all that is kept |
//! | the node sends a message of more than [`MESSAGE_BYTES_MAX`] | the connection ends                                   |
//! | the node sends something else than messages  | it is logged by its length and skipped                             |
//! | the guard ends in order                      | all connections are closed: [`SessionNode::shutdown`]               |
//!
//! What kind of connection it is, its `Link` knows: one file or folder each beside this one.

mod adopt;
mod answer;
mod body;
mod calls;
mod connection;
mod inlet;
mod keeper;
mod line;
mod lines;
mod link;
mod open;
mod options;
mod outbox;
mod probe;
mod record;
mod registry;
mod service;
mod session;
mod vitals;
mod waiting;

pub use body::SessionBody;
pub use inlet::MESSAGE_BYTES_MAX;
pub use options::SessionOptions;
pub use service::{Health, SessionNode};

pub(crate) use calls::{Said, Speaker, serve};
pub(crate) use connection::Connection;
pub(crate) use inlet::Inlet;
pub(crate) use line::{CREDENTIALS, Line};
pub(crate) use lines::serve_lines;
pub(crate) use link::{Keeper, Link};
pub(crate) use record::Record;

#[cfg(test)]
mod isolation_tests;
