//! Refuse messages, tool arguments and tool results that break their schemas.
//!
//! | check       | by                                                    | what `enforce` does                                        |
//! | ----------- | ----------------------------------------------------- | ---------------------------------------------------------- |
//! | `messages`  | the method's schema, written for this crate           | `method_not_found`, `invalid_params`                       |
//! | `arguments` | the tool's `inputSchema`, learned from the node       | `invalid_arguments`                                        |
//! | `results`   | the tool's `outputSchema`, against `structuredContent` | the result is replaced by an error (`upstream_failed`)     |
//!
//! With `report` it passes and is counted in `mcp_guard_validation_reports_total{check}`; with `off` it is not looked at. What is
//! told of a violation is its place (a JSON pointer into the message, the arguments or `structuredContent`), the rule, and what the
//! schema allows there; never the value. `data.pointer` and `data.rule` are those of the first, `data.violations` has up to
//! [`VIOLATIONS_MAX`]. A member that is named twice anywhere in `params` is refused too (`uniqueNames`): the node might use the one
//! that was not checked.
//!
//! # Where the schemas come from
//!
//! From every complete answer to `tools/list` that passes by, the last one counting for all sessions. When there is none yet, or
//! when calls go to another node ([`CatalogHandle::forget`]), a call has the guard list the tools itself, in the call's own
//! session and with its credentials; others wait for that list, at most twice `list_timeout`. When what is known is older than
//! `refresh`, or 10 s old and without the tool, or 1 s old and the node said `list_changed` or named another `serverInfo` in its
//! answer to `initialize` than in the one before, one call lists and the others go by what
//! is known until the new list is complete. A list that fails is tried again after 1 s, then 2 s, up to 60 s; one that the node
//! refuses to its caller (401, 403; up to 2025-11-25 also 400, 404), after half a second.
//!
//! A call whose tool has no usable schema **passes unchecked** and is counted in `mcp_guard_validation_unchecked_total{reason}`. A
//! schema is compiled when it is first needed and once for each text. It may have no more than 64 levels, 64 patterns (4 MiB of programs together), and 32,768 places with its
//! references followed; nothing is fetched for it; `format` is not asserted. One that is beyond or does not compile is logged with the tool's
//! name, counted in `mcp_guard_tool_schemas_skipped_total{reason}` and not used.
//!
//! Nodes that show the same tool with *different* schemas to different sessions need `arguments: report` or `off`.
//!
//! # When to use something else
//!
//! The shape of JSON-RPC itself, sizes and depth are looked at before any concern, by [`McpService`](crate::middleware::McpService).
//!
//! # Cost
//!
//! `params` are read into a value once, which takes longer than checking them. One read lock for each `tools/call`. Up to 16 MiB of schema texts for a
//! layer, and what they compile to.
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "tower")] {
//! use mcp_guard::validation::{Mode, ValidationLayer, ValidationPolicy};
//!
//! // See what would be refused before refusing it.
//! let layer = ValidationLayer::new(ValidationPolicy::new(Mode::Enforce, Mode::Report, Mode::Report));
//! # let _ = layer; }
//! ```

mod arguments;
mod compile;
pub mod messages;
mod policy;
mod screen;
pub mod violation;

#[cfg(feature = "tower")]
mod catalog;
#[cfg(feature = "tower")]
mod checks;
#[cfg(feature = "tower")]
mod fetch;
#[cfg(feature = "tower")]
mod handle;
#[cfg(feature = "tower")]
mod introduction;
#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod metrics;
#[cfg(feature = "tower")]
mod page;
#[cfg(feature = "tower")]
mod results;
#[cfg(feature = "tower")]
mod schema;
#[cfg(feature = "tower")]
mod service;

#[cfg(test)]
#[cfg(feature = "tower")]
mod catalog_tests;
#[cfg(test)]
#[cfg(feature = "tower")]
mod fake;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
#[cfg(feature = "tower")]
mod tests;

pub use arguments::VIOLATIONS_MAX;
#[cfg(feature = "tower")]
pub use catalog::{LISTING_BYTES_MAX, PAGES_MAX};
pub use compile::{SchemaFault, ToolSchema};
#[cfg(feature = "tower")]
pub use handle::CatalogHandle;
#[cfg(feature = "tower")]
pub use layer::ValidationLayer;
pub use policy::{InvalidValidation, Mode, ValidationPolicy};
pub use screen::{PATTERN_BYTES_MAX, PATTERNS_MAX, PLACES_MAX, SCHEMA_DEPTH_MAX};
#[cfg(feature = "tower")]
pub use service::Validation;
