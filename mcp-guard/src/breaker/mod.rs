//! Stop calling a node, or one of its tools, that keeps failing.
//!
//! The breaker watches how forwarded calls end. When too many of the recent ones failed it refuses calls with `breaker_open` and the
//! time that is left, then lets single ones through to see whether the node has recovered. There is one breaker for the node and one
//! for each of its tools; a call must pass both.
//!
//! | state     | elsewhere | calls                   | leaves when                                                            |
//! | --------- | --------- | ----------------------- | ---------------------------------------------------------------------- |
//! | `Passing` | closed    | forwarded, counted      | `consecutive_failures` in a row, or `failure_rate` within `window`     |
//! | `Tripped` | open      | refused                 | `open` is over; doubles up to ten times that while probes fail         |
//! | `Probing` | half-open | one at a time           | `half_open_successes` in a row: passing; one failure: tripped          |
//!
//! What is a failure is told by [`Outcome`](crate::outcome::Outcome): a tool's own `isError`, a caller's mistake and a cancelled call
//! are none, for a node neither is -32603.
//!
//! # Probes
//!
//! Calls that are [safe to repeat](crate::retry::Repeat::is_safe) go first. Another call may probe when no safe one was seen for a
//! `window`, or when the place has been free for a quarter of `open`. A probe that is cancelled gives its place back; one that takes
//! longer than `open` loses it, and its result no longer counts. A stream that is meant to stay open (GET, `subscriptions/listen`)
//! counts as a success when it begins.
//!
//! # When to use something else
//!
//! A single slow call is a matter for a time-out, and a busy node for [`queue`](crate::queue). The breaker is for what is down.
//!
//! # Cost
//!
//! One short lock when a call comes and one when it ends, without allocation; some 400 bytes for each of at most 1,024 tools. When
//! that table is full, the least recently used tool whose breaker passes (or has long been of no interest) is forgotten; if there is
//! none, a new tool gets no breaker of its own. Names of more than 128 bytes get none either.
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "tower")] {
//! use std::time::Duration;
//!
//! use mcp_guard::breaker::{BreakerLayer, BreakerPolicy, BreakerSpec};
//! use mcp_guard::units::Span;
//!
//! let patient = BreakerSpec { open: Span(Duration::from_secs(60)), ..BreakerSpec::default() };
//! let layer = BreakerLayer::new(BreakerPolicy::try_from(patient)?, "node-1");
//! # let _ = layer;
//! # }
//! # Ok::<(), mcp_guard::breaker::InvalidBreaker>(())
//! ```

mod circuit;
mod node;
mod open_time;
mod policy;
mod state;
mod tools;
mod window;

#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod report;
#[cfg(feature = "tower")]
mod service;

#[cfg(test)]
mod circuit_tests;
#[cfg(test)]
mod node_tests;
#[cfg(test)]
#[cfg(feature = "tower")]
pub(crate) mod spy;
#[cfg(test)]
#[cfg(feature = "tower")]
mod tests;

#[cfg(feature = "tower")]
pub use layer::BreakerLayer;
pub use node::{Ask, Change, NodeBreaker, Pass, Stop};
pub use policy::{BreakerPolicy, BreakerSpec, InvalidBreaker};
#[cfg(feature = "tower")]
pub use service::Breaker;
pub use state::Phase;
pub use tools::{TOOL_NAME_BYTES_MAX, TOOLS_MAX};
