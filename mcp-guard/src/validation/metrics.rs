//! What validation counts. All labels are bounded.

use metrics::counter;

use super::compile::SchemaFault;

/// A message broke a schema and was let through.
pub(super) fn reported(check: &'static str) {
    counter!("mcp_guard_validation_reports_total", "check" => check).increment(1);
}

/// A call was forwarded without its arguments checked: `no_list`, `unknown_tool` or `schema`.
pub(super) fn unchecked(reason: &'static str) {
    counter!("mcp_guard_validation_unchecked_total", "reason" => reason).increment(1);
}

/// A schema that cannot be used.
pub(super) fn skipped(fault: &SchemaFault) {
    counter!("mcp_guard_tool_schemas_skipped_total", "reason" => fault.label()).increment(1);
}

/// A list of the guard's own: `ok`, `outdated`, `refused`, `failed` or `timed_out`.
pub(super) fn listed(outcome: &'static str) {
    counter!("mcp_guard_tool_lists_total", "outcome" => outcome).increment(1);
}

/// A result that broke its schema did not reach the client.
pub(super) fn replaced() {
    counter!("mcp_guard_results_replaced_total").increment(1);
}
