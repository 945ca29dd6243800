//! The revisions of MCP, and what differs between them for a proxy.

use std::fmt;

/// A revision of the Model Context Protocol.
///
/// Ordered by age, so `revision >= Revision::V2025_11_25` reads as it should.
/// "Legacy" means every revision with sessions, which is all but the newest.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "a new revision must be handled everywhere")]
pub enum Revision {
    /// `2024-11-05`: HTTP+SSE.
    V2024_11_05,
    /// `2025-03-26`: Streamable HTTP, batches, tool annotations.
    V2025_03_26,
    /// `2025-06-18`: no batches, the version header.
    V2025_06_18,
    /// `2025-11-25`: tasks, bad tool input as a tool result.
    V2025_11_25,
    /// `2026-07-28`: stateless.
    V2026_07_28,
}

impl Revision {
    /// Every revision, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// What a request without `MCP-Protocol-Version` is taken for (2025-06-18, Transports).
    pub const WHEN_ABSENT: Self = Self::V2025_03_26;

    /// The revision named by `text`, if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    /// The date that names the revision.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// Whether a body may hold a JSON-RPC batch.
    pub fn has_batches(self) -> bool {
        self <= Self::V2025_03_26
    }

    /// Whether there are no sessions and each request stands alone.
    pub fn is_stateless(self) -> bool {
        self >= Self::V2026_07_28
    }

    /// Whether a client that closes its stream thereby cancels the call.
    ///
    /// Before 2026-07-28 a disconnect is *not* a cancellation.
    pub fn disconnect_cancels(self) -> bool {
        self.is_stateless()
    }

    /// Whether bad tool arguments are told to the model as a tool result.
    pub fn bad_arguments_are_results(self) -> bool {
        self >= Self::V2025_11_25
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
