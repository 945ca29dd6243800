//! A legacy client, which needs a session, and a node of 2026-07-28, which knows none.
//!
//! The session is the guard's own: the [`Stateless`] node is one more kind of [`Link`](crate::upstream::sessions).
//!
//! | the client's                    | becomes                                                     | rule in   |
//! |---------------------------------|-------------------------------------------------------------|-----------|
//! | `initialize`                    | `server/discover`; the answer names the revision that the client asked for | `begin` |
//! | any other request               | the same with who the client is in `_meta`, and the `Mcp-*` headers | `request` |
//! | tool call that lacks `Mcp-Param-*` | the same with what the tool's schema asks for, once the node has said that it is missing | `params` |
//! | `ping`                          | an empty result                                             | `client`  |
//! | `logging/setLevel`              | `logLevel` in the `_meta` of what follows                   | `client`  |
//! | `resources/subscribe`, `unsubscribe` | a new `subscriptions/listen`                           | `listen`  |
//! | answer to a question            | `inputResponses` of the same call, sent again               | `call`    |
//! | `notifications/cancelled`       | the end of the node's answer                                | `client`  |
//!
//! | the node's                      | becomes                                                     | rule in   |
//! |---------------------------------|-------------------------------------------------------------|-----------|
//! | result                          | the same without what legacy results do not have            | `result`  |
//! | `input_required` result         | requests to the client                                      | `call`    |
//! | error under any status          | the same error under 200: in a session, 404 is its end      | `result`  |
//! | anything else that is no success | -32603 with the status                                     | `call`    |
//! | notification                    | the same                                                    | `call`, `listen` |

mod begin;
mod call;
mod client;
mod listen;
mod request;
mod result;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use mcp_guard::middleware::UpstreamError;
use tokio::sync::mpsc::Receiver;

use self::client::Client;
use crate::upstream::eras::NodeUpstream;
use crate::upstream::eras::params::Tools;
use crate::upstream::sessions::{Connection, Keeper, Line, Link, serve};

/// A node of 2026-07-28, as legacy clients call it.
pub(super) struct Stateless<U> {
    upstream: U,
    tools: Arc<Tools>,
}

impl<U> Stateless<U> {
    pub(super) fn new(upstream: U, tools: Arc<Tools>) -> Self {
        Self { upstream, tools }
    }
}

impl<U> fmt::Debug for Stateless<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stateless").finish_non_exhaustive()
    }
}

#[async_trait]
impl<U: NodeUpstream> Link for Stateless<U> {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Line>) -> Result<Keeper, UpstreamError> {
        let client = Client::new(self.upstream.clone(), Arc::clone(&self.tools), Arc::clone(connection));
        let connection = Arc::clone(connection);
        let serving = tokio::spawn(async move { serve(&client, &connection, lines).await });
        Ok(Box::pin(async move { drop(serving.await) }))
    }

    fn wants_heads(&self) -> bool {
        true
    }
}
