//! HTTP/1.1 as a guard needs it (RFC 9112; ADR 0011): no task, no channel and no buffer but what a message takes.
//!
//! Whoever has a connection polls it, and between two messages it holds nothing but its socket:
//!
//! | part | what it does |
//! | --- | --- |
//! | `head.rs` | reads the heads of requests and answers, and how long their bodies are |
//! | `framing.rs` | takes a body out of what has come |
//! | `inbox.rs` | reads what comes, and keeps what was not asked for yet |
//! | `outbox.rs` | writes a head and what of the body is there, in one go |
//! | `server.rs` | a client's connection: requests in, answers out, and how long it may be silent |
//!
//! The connection to a node is in [`upstream::http`](crate::upstream::http). HTTP/2 is hyper's.
//!
//! What two parsers could read in two ways is refused, not guessed at: both `Content-Length` and `Transfer-Encoding` in a
//! request, two lengths, a coding beside `chunked`, line ends without CR in chunks, folded fields, space before a colon.

mod fault;
mod framing;
mod head;
mod inbox;
mod outbox;
mod request_body;
pub(crate) mod server;
mod timer;

pub use fault::Http1Error;
pub(crate) use framing::{Decoder, Framing};
pub(crate) use head::{HEAD_BYTES_MAX, response};
pub(crate) use inbox::Inbox;
pub(crate) use outbox::Outbox;

#[cfg(test)]
#[path = "../../../fuzz/checks/http1.rs"]
mod fuzz_check;
#[cfg(test)]
mod length_tests;
#[cfg(test)]
mod parser_tests;
#[cfg(test)]
mod tests;
