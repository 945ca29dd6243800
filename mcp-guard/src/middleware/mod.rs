//! What the tower layers share: the seam they stack on, and the HTTP around it.
//!
//! ```text
//! http::Request ─▶ McpService ─▶ Handler ─▶ Handler ─▶ … ─▶ Node ─▶ the wrapped http service
//!                  edge, read,    one a concern              answers classified,
//!                  parse, batch                              streams watched
//! ```
//!
//! Between [`McpService`] and [`Node`] a call is a value ([`McpRequest`]) and its answer is one ([`Answer`]).
//! Concerns implement [`Handler`]; their futures nest without a box, so the whole stack costs one.

mod agreement;
mod answer;
mod body;
pub mod clock;
mod deadline;
mod edge;
mod fields;
#[cfg(test)]
#[path = "../../../fuzz/checks/cursor_ids.rs"]
mod fuzz_check;
mod handler;
pub mod headers;
mod metrics;
mod node;
mod read_body;
mod record;
mod service;
mod shared;
#[cfg(test)]
mod sizes_tests;
mod sse;
mod upstream;

pub use agreement::{header_text, header_value};
pub use answer::Answer;
pub use body::{BodyError, GuardBody};
pub use deadline::Deadline;
pub use edge::{EdgePolicy, InvalidEdge};
pub use handler::{Client, Handler, McpRequest, Subject};
pub use metrics::{COUNTERS, GAUGES, HISTOGRAMS, describe_metrics};
pub use node::Node;
pub use read_body::read_body;
pub use record::Record;
pub use service::{Doorkeeper, McpService, Served, Settings};
pub(crate) use shared::Shared;
pub use sse::{EventSplitter, EventTooLarge, split_events, without_mark};
pub use upstream::{CallDeadline, Upstream, UpstreamError, frame_whole};
