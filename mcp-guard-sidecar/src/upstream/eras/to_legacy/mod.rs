//! A client of 2026-07-28, which has no session, and a legacy node, which knows nothing else.
//!
//! | the client's                    | becomes                                                     | rule in     |
//! |---------------------------------|-------------------------------------------------------------|-------------|
//! | any request                     | the same in a session of the client's own, without what the revision says in `_meta`, `requestState`, `inputResponses`; the `Mcp-*` headers are left out, which the guard has compared with the body before, and `Mcp-Param-*` here | `request`, `session`, `params` |
//! | capabilities, name, log level in `_meta` | those of `initialize`, and `logging/setLevel`      | `request`   |
//! | `server/discover`               | the answer that `initialize` got                            | `discover`  |
//! | `subscriptions/listen`          | the session's stream (GET), and a `resources/subscribe` for each resource | `listen` |
//! | `inputResponses`                | responses to the node's requests, and the call goes on      | `rounds`    |
//! | leaving                         | `notifications/cancelled`, and the end of the session       | `flight`    |
//! | methods that are gone           | `method_not_found`, 404                                     | `request`   |
//!
//! | the node's                      | becomes                                                     | rule in     |
//! |---------------------------------|-------------------------------------------------------------|-------------|
//! | result                          | the same with `resultType`, on lists and reads `ttlMs: 0` and `cacheScope: private`, and who the node is | `result` |
//! | error                           | the same under its status; -32002 is -32602                 | `result`    |
//! | request to a client that can answer it | an `input_required` result; the call waits for the answer, 5 minutes | `rounds` |
//! | request to one that cannot      | answered with -32601; `ping` with `{}`                      | `flight`    |
//! | progress; log messages to a client that gave a level | the same                               | `flight`    |
//! | other notifications             | told to those who listen                                    | `listen`    |

mod discover;
mod flight;
mod lease;
mod listen;
mod listeners;
mod node;
mod request;
mod result;
mod rounds;
mod session;

pub(crate) use node::Node;

#[cfg(test)]
mod tests;
