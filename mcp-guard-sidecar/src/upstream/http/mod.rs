//! An upstream that speaks Streamable HTTP in plain text.
//!
//! Each of the host's runtimes has a pool of its own, so that a call never crosses threads: connection, call and
//! answer stay on one core. The bounds hold for all pools together:
//!
//! | bound                                             | at it                                                        |
//! |---------------------------------------------------|--------------------------------------------------------------|
//! | connections for calls, busy and idle              | the one that was idle longest leaves, of whatever pool; if all are busy, `upstream_unavailable` (503) with `Retry-After` |
//! | as many again for streams that only listen        | `upstream_unavailable` (503) with `Retry-After`               |
//!
//! Such a refusal is the guard's own: it is not sent again and says nothing about the node.

mod body;
mod headers;
mod options;
mod pool;
mod service;
mod slots;

pub use body::PooledBody;
pub use options::HttpOptions;
pub use service::HttpUpstream;

#[cfg(test)]
mod tests;
