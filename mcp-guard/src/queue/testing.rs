//! What the tests of this folder share.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use crate::call::{Call, Kind, Method};
use crate::config::ToolPolicy;
use crate::matcher::Pattern;
use crate::revision::Revision;

pub(super) const MS: Duration = Duration::from_millis(1);

#[expect(clippy::disallowed_methods, reason = "some instant to count from; no test looks at the clock again")]
pub(super) fn start() -> Instant {
    Instant::now()
}

/// A request with `method`.
pub(super) fn call(method: &str) -> Call {
    let mut call = Call::new(Kind::Request, Method::new(method), Revision::V2025_11_25);
    call.id = Some("1".into());
    call
}

/// A call of the tool `name`.
pub(super) fn tool(name: &str) -> Call {
    let mut call = call(Method::TOOLS_CALL);
    call.target = Some(name.into());
    call
}

/// The same from the client with session `name`.
pub(super) fn from(name: &str, mut call: Call) -> Call {
    call.session = Some(name.into());
    call
}

/// A cap of `most` on each tool that `pattern` means; 0 is none.
pub(super) fn cap(pattern: &str, most: u32) -> ToolPolicy {
    ToolPolicy { name: Pattern::new(pattern), concurrency: NonZeroU32::new(most), timeout: None, cost: NonZeroU32::MIN }
}
