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
//!
//! Of the node's [`Profile`](mcp_guard::session::Profile), what concerns one message of a client's is done: `params: {}` is
//! put in, and what the node would not survive is refused, all responses of clients among it. What the node sends is
//! passed on as it is.

mod body;
mod connection;
mod exchange;
mod headers;
mod options;
mod pool;
mod quirks;
mod service;
mod sessions;
mod slots;

pub use body::PooledBody;
pub use exchange::Exchange;
pub use options::HttpOptions;
pub use service::HttpUpstream;

pub(crate) use sessions::HttpSessions;

#[cfg(test)]
mod tests;
