//! Where what a node sends comes in: read, and told apart from what is no message.

use std::sync::Arc;

use bytes::Bytes;
use mcp_guard::middleware::clock;
use mcp_guard::session::{FromNode, messages, one_line};

use super::connection::Connection;
use crate::upstream::line_rate::LineRate;

/// Longest message that a node may send: what erlmcp itself allows. A longer one ends the connection.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Takes what a node sends.
#[derive(Debug)]
pub(crate) struct Inlet {
    connection: Arc<Connection>,
    rate: LineRate,
}

impl Inlet {
    /// One for `connection`.
    pub(crate) fn new(connection: &Arc<Connection>) -> Self {
        Self { connection: Arc::clone(connection), rate: LineRate::default() }
    }

    /// Takes a message, or several in an array.
    pub(crate) fn take(&mut self, mut text: Bytes) {
        text.truncate(text.trim_ascii_end().len());
        if text.is_empty() {
            return;
        }
        // A carriage return would end an event's line.
        for message in messages(one_line(text)) {
            match FromNode::read(&message) {
                Some(read) => self.connection.receive(&read, message.clone()),
                None => {
                    if let Some(left_out) = self.rate.admit(clock::now()) {
                        let (session, bytes) = (self.connection.hint(), message.len());
                        tracing::warn!(session, bytes, left_out, "the node sent what is no message");
                    }
                }
            }
        }
    }
}
