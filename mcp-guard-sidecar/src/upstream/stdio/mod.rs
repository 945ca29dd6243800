//! Nodes that speak JSON lines on their standard input and output, one process for each session.
//!
//! ```text
//! POST initialize ─▶ a child is started ─▶ its answer, with an `Mcp-Session-Id` of the guard's own
//! POST            ─▶ one line in ─▶ the line that answers it (JSON), or all that comes before it too (SSE)
//! GET             ─▶ what the node says of its own accord (SSE)
//! DELETE          ─▶ the child is ended
//! ```
//!
//! | when                                         | what happens                                                        |
//! |----------------------------------------------|---------------------------------------------------------------------|
//! | the child exits, or closes its output        | waiting calls fail (`upstream_failed`), the session is gone (404)    |
//! | it does not answer `initialize` in time      | it is ended; `deadline_exceeded`                                     |
//! | it dies before that                          | `upstream_unavailable`                                              |
//! | a call is not answered in `first_byte`       | `deadline_exceeded`; its id stays taken until the node answers       |
//! | the client leaves                            | the call goes on, its answer is dropped (no revision with sessions cancels so) |
//! | the client cancels                           | the notification is passed on; the waiting POST ends with 202 and no body, or with error -32800 where it is a stream already. SDKs ignore both, as they no longer wait |
//! | the session is silent for `session_idle`     | the child is ended. A call in flight or an open stream is not silent |
//! | the child does not read                      | calls wait, and give up after `first_byte`; a few lines are all that is kept |
//! | the child writes a line of more than [`LINE_BYTES_MAX`] | the session ends                                         |
//! | the child writes something else than messages | it is logged by its length and skipped                             |
//! | the guard ends in order                      | the children end with all that they started: [`Stdio::shutdown`]    |
//! | the guard is killed                          | the kernel kills the children themselves, see [`ExecNode`](crate::cli::ExecNode); what they started lives on, unless it ends with its input |
//!
//! A child leads a process group, which is sent SIGTERM and, after `grace`, SIGKILL. Its standard error goes to the
//! log line by line, bounded in length and rate.

mod answer;
mod body;
mod child;
mod log;
mod open;
mod options;
mod outbox;
mod pipes;
mod probe;
mod registry;
mod service;
mod session;
mod spawner;
mod vitals;

pub use body::StdioBody;
pub use options::StdioOptions;
pub use pipes::LINE_BYTES_MAX;
pub use service::{Health, Stdio};
