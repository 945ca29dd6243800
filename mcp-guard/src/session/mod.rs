//! Sessions of nodes that have none: one conversation over one pair of byte streams, served as Streamable HTTP.
//!
//! A node on stdio (or a TCP line) knows one client and speaks whenever it likes. Clients of the guard send
//! requests that each want their own answer. What lies between is decided here, without I/O:
//!
//! | part             | decides                                                                              |
//! |------------------|--------------------------------------------------------------------------------------|
//! | [`SessionTable`] | which sessions exist: bounded, and those that are silent for long leave              |
//! | [`Conversation`] | whom a message of the node is for, and which messages of the client may reach it     |
//! | [`Memory`]       | what another node has to be told before it can take a session over                   |
//! | [`FromNode`]     | what a line of the node is                                                           |
//! | [`Profile`]      | what a known kind of node cannot survive, and how its messages are put right         |
//!
//! # Example
//!
//! ```
//! use std::num::NonZeroUsize;
//! use std::time::{Duration, Instant};
//!
//! use mcp_guard::session::{SessionId, SessionTable};
//!
//! # fn example(now: Instant, random: u128) -> Option<()> {
//! let mut table = SessionTable::new(NonZeroUsize::MIN, Duration::from_secs(3600));
//! let id = SessionId::from_bits(random);
//! table.insert(id, "a node", now).ok()?;
//! assert_eq!(table.get(id, now), Some(&"a node"));
//! # Some(())
//! # }
//! ```

mod conversation;
mod from_node;
mod held;
mod id;
mod line;
mod memory;
mod profile;
mod quirks;
mod table;

pub use conversation::{ASKED_MAX, AskError, Conversation, LISTENERS_MAX, PENDING_MAX, Ticket};
pub use from_node::{FromNode, cancelled_id, progress_token};
pub use held::{HELD_BYTES_MAX, HELD_MESSAGES_MAX};
pub use id::SessionId;
pub use line::{messages, one_line};
pub use memory::{Memory, REQUEST_BYTES_MAX, SUBSCRIPTIONS_MAX};
pub use outlet::{End, Message, Outlet};
pub use profile::Profile;
pub use table::{Full, SessionTable};

mod outlet;

#[cfg(test)]
mod conversation_tests;
#[cfg(test)]
mod quirks_tests;
#[cfg(test)]
mod table_tests;
