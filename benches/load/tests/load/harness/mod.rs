//! Servers to load, each on a loopback port and a runtime of its own.

pub(crate) mod liar;
pub(crate) mod server;

use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::time::Duration;

use mcp_load::{Phase, PlanSpec, Report, Weighted, run};

/// A plan in which `sessions` make `calls` each, and end.
pub(crate) fn counted(url: &str, sessions: u32, calls: u32) -> PlanSpec {
    let mut spec = PlanSpec::new(url);
    spec.phases = vec![phase(sessions, 20_000, None)];
    spec.calls_max = NonZeroU32::new(calls);
    spec.timeout = Duration::from_secs(5);
    spec
}

/// A phase of `ms` milliseconds.
pub(crate) fn phase(sessions: u32, ms: u64, rate: Option<u32>) -> Phase {
    Phase { sessions, length: Duration::from_millis(ms), rate }
}

/// Texts of three sizes, the largest in many pieces.
pub(crate) fn sizes() -> Weighted<usize> {
    Weighted::new([(20, 1), (300, 8), (65_536, 1)]).unwrap()
}

/// The report of a run.
pub(crate) fn report(spec: PlanSpec) -> Report {
    run(&spec.build().unwrap(), |_| ControlFlow::Continue(())).unwrap()
}

/// The report of a run in which all went well.
#[track_caller]
pub(crate) fn clean(spec: PlanSpec) -> Report {
    let report = report(spec);
    assert!(report.is_clean(), "{report}");
    report
}
