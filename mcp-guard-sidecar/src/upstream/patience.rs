//! How long a node may take to begin its answer.

use std::time::Duration;

use http::Extensions;
use mcp_guard::middleware::{CallDeadline, UpstreamError, clock};

/// How long from now: until the deadline that the guard put into `extensions`, else `otherwise`.
///
/// The deadline is there for every message of a client's, and is the tool's own time-out where it has one.
pub(super) fn patience(extensions: &Extensions, otherwise: Duration) -> Duration {
    let deadline = extensions.get::<CallDeadline>();
    deadline.map_or(otherwise, |deadline| deadline.0.saturating_duration_since(clock::now()))
}

/// What a call gets whose answer did not begin within `limit`, which is told in round figures.
pub(super) fn timed_out(limit: Duration) -> UpstreamError {
    let steps = limit.as_nanos().div_ceil(STEP.as_nanos());
    UpstreamError::TimedOut(u32::try_from(steps).map_or(limit, |steps| STEP * steps))
}

const STEP: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_time_is_told_as_the_time_that_was_given() {
        let UpstreamError::TimedOut(limit) = timed_out(Duration::from_micros(29_999_873)) else { panic!("it did not") };
        assert_eq!(limit, Duration::from_secs(30));
    }
}
