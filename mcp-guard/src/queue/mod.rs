//! Let a node work on as many calls at once as it bears, and let a bounded number of others wait.
//!
//! A request holds a place from when it is sent to when its answer ends, streams included. Other messages
//! (notifications, responses, `GET`, `DELETE`) pass without one, and `subscriptions/listen` gives its place back once its
//! stream has begun.
//!
//! | A request that finds           | then                                                                         |
//! |--------------------------------|------------------------------------------------------------------------------|
//! | a free place, nobody waiting   | is sent                                                                      |
//! | no free place on the node      | waits in line for the node                                                   |
//! | no free place at its tool      | waits in line for the tool, in nobody else's way                             |
//! | no room to wait in             | is refused `queue_full`, or takes the room of one with a lesser claim        |
//! | a queue that stands            | the same, as soon as enough others wait                                      |
//! | its `max_wait` or deadline over| is refused `queue_timeout`                                                   |
//! | that its client leaves         | leaves the room, or gives its place to the next, at once                     |
//!
//! **Who is next**: `ping`, `initialize`, `server/discover` and `tasks/cancel` before lists and reads before `tools/call`
//! and the rest, strictly; within a class clients take turns, a client being a subject, else an address (of IPv6 a
//! network), else a session: whom the guard can tell apart by what a client cannot choose. A time-out that counts from
//! when a call is sent is not touched by waiting.
//!
//! **Who gives way** in a full room: the newest call of the lowest class of the client that holds most places, to a
//! newcomer of a higher class, or to one of the same class whose client would still hold fewer places. It is refused
//! `queue_full`. So one client cannot keep the others out.
//!
//! **How many at once**: with `adaptive`, from `concurrency_min` up to `concurrency`, found by comparing how long calls
//! take with what is usual for their method or tool (Gradient2), and lowered by time-outs and by 429, 503 and 504.
//! **How long**: `max_wait`. Once the queue has not been empty for so long it *stands*, and no more get in line for the node
//! than are served within `target_delay`, or up to 16 as are served within half of `max_wait`; whoever else comes is refused at
//! once, or somebody gives way as in a full room (controlled delay). That is over once the line was empty for `target_delay`, or
//! nobody found it full for `max_wait`. **`Retry-After`** is the number who wait times the time between two places that come
//! free: how long calls run, by how many of them may.
//!
//! # When to use something else
//!
//! The queue protects a node from too much at once, [`rate_limit`](crate::rate_limit) from too much of one client over
//! time; a node that is down is a matter for the [`breaker`](crate::breaker).
//!
//! # Cost
//!
//! A call that finds a place: two short locks, no allocation beyond what its answer's end needs. One that waits: O(log n)
//! in the number of waiters. Memory is bounded by `waiting`, 1,024 capped tools in use and 256 tools whose usual times
//! are kept; beyond 1,024, tools share a cap per entry, and beyond 256 the one that answered longest ago is forgotten.
//!
//! # Example
//!
//! ```
//! use mcp_guard::queue::QueuePolicy;
//!
//! let policy: QueuePolicy = serde_json::from_str(r#"{"concurrency": 64, "waiting": 256, "max_wait": "500ms"}"#)?;
//! assert_eq!((policy.concurrency(), policy.concurrency_min()), (64, 8));
//! # Ok::<(), serde_json::Error>(())
//! ```

mod class;
mod codel;
mod drain;
mod holdings;
mod limit;
mod line;
mod node_queue;
mod policy;
mod pressure;
mod tool_caps;
mod usual;
mod waiting;
mod window;

#[cfg(feature = "tower")]
mod gate;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod meters;
#[cfg(feature = "tower")]
mod service;

#[cfg(test)]
#[cfg(feature = "tower")]
mod meters_tests;
#[cfg(test)]
#[cfg(feature = "tower")]
mod stream_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
#[cfg(feature = "tower")]
mod tests;

#[cfg(feature = "tower")]
pub use layer::QueueLayer;
pub use line::Ticket;
pub use node_queue::{Levels, Look, NodeQueue, Notice, Place, Shed, Why};
pub use policy::{CONCURRENCY_MAX, InvalidQueue, QueuePolicy, WAIT_MAX, WAITING_MAX};
pub use pressure::{Mark, Pressure};
#[cfg(feature = "tower")]
pub use service::Queue;
