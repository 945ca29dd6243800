//! What can go wrong with an exchange, by kind, and how often it did.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

/// A kind of failure. Its text is its stable name in reports.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Failure {
    /// No connection: `connect`.
    Connect,
    /// The connection ended before the answer did: `reset`.
    Reset,
    /// No whole answer within the plan's timeout: `timeout`.
    Timeout,
    /// An HTTP status that is none of success: `status_503`.
    Status(u16),
    /// A JSON-RPC error: `jsonrpc_-32602`.
    JsonRpc(i64),
    /// A JSON-RPC error after more than [`Failures::KINDS_MAX`] kinds were seen: `jsonrpc_other`.
    JsonRpcOther,
    /// A result that says `isError`: `tool_error`.
    ToolError,
    /// An answer to another id: `wrong_id`.
    WrongId,
    /// A text that is not what this session sent with this call: `wrong_content`.
    WrongContent,
    /// An answer with the id of another session: `wrong_session`.
    WrongSession,
    /// Neither a result nor an error, or a content type that is neither JSON nor SSE: `malformed`.
    Malformed,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Reset => f.write_str("reset"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "status_{status}"),
            Self::JsonRpc(code) => write!(f, "jsonrpc_{code}"),
            Self::JsonRpcOther => f.write_str("jsonrpc_other"),
            Self::ToolError => f.write_str("tool_error"),
            Self::WrongId => f.write_str("wrong_id"),
            Self::WrongContent => f.write_str("wrong_content"),
            Self::WrongSession => f.write_str("wrong_session"),
            Self::Malformed => f.write_str("malformed"),
        }
    }
}

/// How often each kind was seen.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Failures(BTreeMap<Failure, u64>);

impl Failures {
    /// Codes of JSON-RPC errors are counted by themselves until there are so many kinds.
    pub const KINDS_MAX: usize = 64;

    /// How often `kind` was seen.
    pub fn of(&self, kind: Failure) -> u64 {
        self.0.get(&kind).copied().unwrap_or(0)
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Each kind that was seen, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Failure, u64)> {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }

    pub(crate) fn count(&mut self, kind: Failure) {
        self.add(kind, 1);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (kind, count) in other.iter() {
            self.add(kind, count);
        }
    }

    fn add(&mut self, kind: Failure, count: u64) {
        let is_over = matches!(kind, Failure::JsonRpc(_)) && self.0.len() >= Self::KINDS_MAX;
        let kind = if is_over && !self.0.contains_key(&kind) { Failure::JsonRpcOther } else { kind };
        *self.0.entry(kind).or_default() += count;
    }
}

/// A map from names to counts.
impl Serialize for Failures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(kind, count)| (kind.to_string(), count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_invents_codes_fills_no_table() {
        let mut failures = Failures::default();
        for code in 0..1_000 {
            failures.count(Failure::JsonRpc(code));
        }
        assert_eq!(failures.iter().count(), Failures::KINDS_MAX + 1);
        assert_eq!(failures.total(), 1_000);
        assert_eq!(failures.of(Failure::JsonRpcOther), 936);
    }

    #[test]
    fn names_are_keys_of_the_report() {
        let mut failures = Failures::default();
        failures.count(Failure::Status(503));
        failures.count(Failure::JsonRpc(-32602));
        assert_eq!(serde_json::to_string(&failures).unwrap(), r#"{"status_503":1,"jsonrpc_-32602":1}"#);
    }
}
