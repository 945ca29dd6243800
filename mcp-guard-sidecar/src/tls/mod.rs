//! TLS, to clients and to nodes: rustls, with files that are read again when they change (ADR 0013).
//!
//! | what | how |
//! | --- | --- |
//! | versions | 1.3; to clients 1.2 too where the config says so, to nodes whatever of both the node has |
//! | early data (0-RTT) | never: what is in it can be replayed |
//! | resumption | by tickets of the process alone; keys turn every 6 hours, and all tickets end when a file changes |
//! | certificates of clients | asked for where there is a `client_ca`; without one there is no connection |
//! | certificates of nodes | verified by the system's authorities, or by `ca` |
//! | files | looked at each second, and at once on SIGHUP; a bad one changes nothing, and is told |

mod client;
mod fault;
mod identity;
mod pem;
mod reloaded;
mod server;
mod stream;
mod watcher;

pub use client::ClientTls;
pub use fault::TlsError;
pub use server::ServerTls;
pub use watcher::Watcher;

pub(crate) use stream::MaybeTls;

#[cfg(test)]
mod tests;
