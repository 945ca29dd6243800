//! Several nodes in one upstream: which of them is called.
//!
//! | what                                          | goes to                                                             |
//! |-----------------------------------------------|---------------------------------------------------------------------|
//! | a new session, or a call without one          | of two drawn at random, the one with fewer calls or sessions ([`Nodes`]) |
//! | a call in a session with an `http` node       | the session's node, whose tag stands before the id ([`Http`])        |
//! | a session of the guard's own                  | one connection, to one node; when that is gone, another (`AnyOf`)  |
//!
//! A node that cannot be reached is left alone for a while, and what was not sent goes to the next one at once. One that
//! the health checks find unwell is left alone as long as they do, unless they find all unwell.
//!
//! Power of two choices: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 12(10), 2001.

mod http;
mod link;
mod nodes;

pub use http::Http;
pub(crate) use link::AnyOf;
pub use nodes::{Node, Nodes};
