//! Send a call again when it failed and may be sent again.
//!
//! | outcome                                      | again?                                                                       |
//! | -------------------------------------------- | ---------------------------------------------------------------------------- |
//! | unreachable: nothing was sent                | yes, but for a client's JSON-RPC responses                                   |
//! | broken off; HTTP 429, 502, 503, 504          | if it is safe to repeat                                                      |
//! | HTTP 500                                     | no: the program failed on this call, and would again                         |
//! | a JSON-RPC error, -32603 too                 | no: it is an answer, and the tool may have run (erlmcp v3 sends it after)    |
//! | timed out                                    | no: the caller's time is gone                                                |
//! | refused by the guard (`breaker_open`, …)     | no: the refusal says when                                                    |
//! | a stream that has begun                      | no: the caller has seen some of it                                           |
//!
//! | call                                                                    | [`Repeat`]                                        |
//! | ----------------------------------------------------------------------- | ------------------------------------------------- |
//! | lists, reads, `ping`, `completion/complete`, `tasks/*`, discovery       | `Always`                                          |
//! | `logging/setLevel`, subscriptions, `tasks/cancel`, opening a stream     | `InTurn`: safe, but never two side by side        |
//! | `tools/call`                                                            | `IfUnsent`; by its hints with `trust_annotations` |
//! | `initialize`, notifications, DELETE, unknown methods                    | `IfUnsent`                                        |
//! | any with `inputResponses` or `requestState` (2026-07-28)                | `IfUnsent`                                        |
//! | JSON-RPC responses                                                      | `Never`                                           |
//!
//! Waits are jittered per call (decorrelated jitter) and never reach past the call's deadline. The node's `Retry-After` in seconds is a
//! minimum up to 10 s; a longer one goes to the caller with the answer. One in the form of a date is not read. Retries and hedges are
//! paid from one budget: each call pays in `budget` of a retry, and one a second is given.
//!
//! With `hedge_after` set, a call that only reads (`Always`), belongs to no session and has no answer by then is sent a second time; the
//! first good answer wins and the other is dropped. Within a session it would put the same id on the wire twice at once.
//!
//! # When to use something else
//!
//! Retries help against short failures. Against a node that is down there is the [`breaker`](crate::breaker), which belongs behind this
//! layer so that each attempt asks it; against a slow one, a time-out.
//!
//! # Cost
//!
//! One short lock for each call. The request is kept until the answer is there: it is shared, not copied.
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "tower")] {
//! use mcp_guard::retry::{RetryLayer, RetryPolicy, RetrySpec, ToolHints};
//!
//! let trusting = RetrySpec { trust_annotations: true, ..RetrySpec::default() };
//! let layer = RetryLayer::new(RetryPolicy::try_from(trusting)?)
//!     .hints(|tool: &str| (tool == "search").then_some(ToolHints { read_only: true, idempotent: true }));
//! # let _ = layer;
//! # }
//! # Ok::<(), mcp_guard::retry::InvalidRetry>(())
//! ```

mod attempt;
mod backoff;
mod budget;
mod policy;
mod repeatable;

#[cfg(feature = "tower")]
mod layer;
#[cfg(feature = "tower")]
mod service;

#[cfg(test)]
#[cfg(feature = "tower")]
mod tests;

pub use attempt::{Attempts, Ended, Next, RETRY_AFTER_MAX};
pub use backoff::delay;
pub use budget::{BALANCE_MAX, Budget, RESERVE_MAX};
#[cfg(feature = "tower")]
pub use layer::RetryLayer;
pub use policy::{InvalidRetry, RetryPolicy, RetrySpec};
pub use repeatable::{Hints, Repeat, ToolHints};
#[cfg(feature = "tower")]
pub use service::Retry;
