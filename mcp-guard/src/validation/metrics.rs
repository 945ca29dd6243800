//! What validation counts. All labels are bounded.

use std::sync::OnceLock;

use metrics::{Counter, counter};

use super::compile::SchemaFault;

/// What was checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Check {
    Messages,
    Arguments,
    Results,
}

/// Why the arguments of a call were not checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unchecked {
    NoList,
    UnknownTool,
    Schema,
}

/// What any call may count; each handle is looked up once, when it is first needed.
#[derive(Default)]
pub(super) struct Counters {
    reports: [OnceLock<Counter>; 3],
    unchecked: [OnceLock<Counter>; 3],
    replaced: OnceLock<Counter>,
}

impl Counters {
    /// A message broke a schema and was let through.
    pub(super) fn reported(&self, check: Check) {
        let [messages, arguments, results] = &self.reports;
        let (handle, check) = match check {
            Check::Messages => (messages, "messages"),
            Check::Arguments => (arguments, "arguments"),
            Check::Results => (results, "results"),
        };
        handle.get_or_init(|| counter!("mcp_guard_validation_reports_total", "check" => check)).increment(1);
    }

    /// A call was forwarded without its arguments checked.
    pub(super) fn unchecked(&self, reason: Unchecked) {
        let [no_list, unknown_tool, schema] = &self.unchecked;
        let (handle, reason) = match reason {
            Unchecked::NoList => (no_list, "no_list"),
            Unchecked::UnknownTool => (unknown_tool, "unknown_tool"),
            Unchecked::Schema => (schema, "schema"),
        };
        handle.get_or_init(|| counter!("mcp_guard_validation_unchecked_total", "reason" => reason)).increment(1);
    }

    /// A result that broke its schema did not reach the client.
    pub(super) fn replaced(&self) {
        self.replaced.get_or_init(|| counter!("mcp_guard_results_replaced_total")).increment(1);
    }
}

/// A schema that cannot be used.
pub(super) fn skipped(fault: &SchemaFault) {
    counter!("mcp_guard_tool_schemas_skipped_total", "reason" => fault.label()).increment(1);
}

/// A list of the guard's own: `ok`, `outdated`, `refused`, `failed` or `timed_out`.
pub(super) fn listed(outcome: &'static str) {
    counter!("mcp_guard_tool_lists_total", "outcome" => outcome).increment(1);
}
