//! What kind of node it is.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FromNode, quirks};
use crate::refusal::Refusal;

/// A kind of node with known quirks.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Profile {
    /// Does what the protocol says.
    #[default]
    Standard,
    /// erlmcp 0.5 and v3, which many messages kill or hang, and whose notifications are misnamed.
    Erlmcp,
}

impl Profile {
    /// What to send to the node for the message `body` of a client.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] for what the node would not survive, whether or not validation is on.
    pub fn to_node(self, body: Bytes) -> Result<Bytes, Refusal> {
        match self {
            Self::Standard => Ok(body),
            Self::Erlmcp => quirks::to_erlmcp(body),
        }
    }

    /// What to tell the client for the message `line` of the node; `None` for nothing.
    pub fn from_node(self, message: &FromNode<'_>, line: Bytes) -> Option<Bytes> {
        match self {
            Self::Standard => Some(line),
            Self::Erlmcp => quirks::from_erlmcp(message, line),
        }
    }

    /// Whether the answer to a `ping` shows that the node lives.
    pub fn is_alive(self, answer: &[u8]) -> bool {
        match FromNode::read(answer) {
            Some(FromNode::Response { is_error: false, .. }) => true,
            Some(FromNode::Response { is_error: true, .. }) => {
                self == Self::Erlmcp && quirks::is_unknown_method(answer)
            }
            Some(FromNode::Request { .. } | FromNode::Notification { .. }) | None => false,
        }
    }
}
