//! What the rules say about a call.

use std::time::Duration;

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
#[expect(clippy::exhaustive_enums, reason = "a caller must do something about each")]
pub enum Decision {
    /// It may, and has been counted; with the tightest rule that was asked, if any was.
    Allow(Option<Standing>),
    /// Not yet.
    Deny(Denial),
}

/// How a caller stands under the rule of which it has least left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Which rule, of the limiter that made this.
    pub(super) rule: usize,
    pub(super) remaining: u32,
    pub(super) more_in: Duration,
}

/// Why a call may not be made yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Denial {
    pub(super) standing: Standing,
    pub(super) retry_after: Duration,
}

impl Standing {
    /// How many calls are left now.
    pub fn remaining(&self) -> u32 {
        self.remaining
    }

    /// How long until there are more, at most; exact to the second.
    pub fn more_in(&self) -> Duration {
        self.more_in
    }

    /// The one under which less is left.
    #[must_use]
    pub fn tighter(self, other: Self) -> Self {
        if (other.remaining, self.more_in) < (self.remaining, other.more_in) { other } else { self }
    }
}

impl Denial {
    /// The time after which the same call fits under every rule, to the nanosecond, if nobody else spends till then.
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// The rule that takes longest, and what is left under it.
    pub fn standing(&self) -> Standing {
        self.standing
    }
}
