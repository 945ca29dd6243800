//! Trace context in and out, and a span on either side of the guard.
//!
//! | | |
//! | --- | --- |
//! | comes in | `traceparent`, `tracestate`, `baggage` in headers and in `params._meta` (every revision). `_meta` is the parent; the context of the HTTP request, if it is another, is a link |
//! | goes out | in headers always; in `_meta` for 2026-07-28, and wherever the caller put a `traceparent` there. No other byte of the body changes |
//! | malformed | dropped and counted in `mcp_guard_trace_context_dropped_total{field}`; the call goes on |
//! | spans | `tools/call weather`: SERVER for the message, CLIENT for each try; attributes by OpenTelemetry's MCP conventions, never arguments |
//! | nobody traces | no spans, no look at the body; well-formed headers pass unchanged |
//! | `propagate_baggage: false` | `baggage` is taken out of headers and of `params._meta`, whatever the revision and whether or not anybody traces, and counted as dropped |
//! | `x-request-id` | kept if it is 1 to 128 visible ASCII characters, else made; sent to the node and back to the caller |
//!
//! The guard writes `traceparent` as version 00 and reads later versions. Its spans carry two attributes of its own:
//! `mcp_guard.outcome` and, for refused calls, `mcp_guard.refusal`; `mcp_guard.request_id` is on the SERVER span.
//!
//! ```
//! use mcp_guard::trace::{TraceLayer, TracePolicy};
//! # #[cfg(feature = "tower")]
//! # fn example() {
//! use bytes::Bytes;
//! use http_body_util::Full;
//! use tower::{Layer, service_fn};
//!
//! let server = service_fn(async |request: http::Request<Full<Bytes>>| {
//!     // `traceparent` names the guard's CLIENT span, if a tracer provider is installed.
//!     let parent = request.headers().get("traceparent").cloned();
//!     let answer = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"traced":{}}}}}"#, parent.is_some());
//!     Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::from(answer)))
//! });
//! let policy: TracePolicy = serde_json::from_str(r#"{"baggage_bytes_max": "1KiB"}"#).unwrap();
//! let traced = TraceLayer::new(policy).layer(server);
//! # }
//! ```

mod baggage;
mod context;
mod meta;
mod policy;
mod semantics;

#[cfg(feature = "tower")]
mod carried;
#[cfg(feature = "tower")]
mod headers;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod service;
#[cfg(feature = "tower")]
mod span;

#[cfg(test)]
mod pure_tests;

pub use baggage::{BaggageLimits, baggage};
pub use context::{Kept, TRACESTATE_BYTES_MAX, TRACESTATE_MEMBERS_MAX, TraceParent, tracestate};
#[cfg(feature = "tower")]
pub use headers::{REQUEST_ID_BYTES_MAX, X_REQUEST_ID};
#[cfg(feature = "tower")]
pub use layer::TraceLayer;
pub use meta::{Key, META_MEMBERS_MAX, Meta, Outgoing, Splice};
pub use policy::{BAGGAGE_BYTES_MAX, BAGGAGE_MEMBERS_MAX, InvalidTrace, TracePolicy};
pub use semantics::{Failure, NAME_BYTES_MAX, URI_BYTES_MAX, attributes, failure, span_name};
#[cfg(feature = "tower")]
pub use service::{Trace, TraceUpstream};
