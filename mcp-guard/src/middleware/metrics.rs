//! The metrics of the stack as a whole. Handles are looked up once; labels are bounded.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock, PoisonError, RwLock};

use foldhash::fast::RandomState;
use metrics::{Counter, Histogram, counter, histogram};

use crate::call::{Call, Method};
use crate::outcome::Outcome;
use crate::refusal::Reason;

/// So many tools get a label of their own, each with its first success; all other calls are counted under `other`.
const TOOL_LABELS_MAX: usize = 256;

/// Longer names are no labels: 2025-11-25 allows tools 128 characters.
const TOOL_LABEL_BYTES_MAX: usize = 128;

static REQUESTS: [[OnceLock<Counter>; Outcome::COUNT]; Method::LABELS] =
    [const { [const { OnceLock::new() }; Outcome::COUNT] }; Method::LABELS];
static DURATIONS: [OnceLock<Histogram>; Method::LABELS] = [const { OnceLock::new() }; Method::LABELS];
static UPSTREAM_DURATION: OnceLock<Histogram> = OnceLock::new();

/// The counters of each tool that has a label of its own.
static TOOLS: LazyLock<RwLock<HashMap<Box<str>, ByOutcome, RandomState>>> = LazyLock::new(RwLock::default);
static OTHER_TOOLS: ByOutcome = [const { OnceLock::new() }; Outcome::COUNT];

type ByOutcome = [OnceLock<Counter>; Outcome::COUNT];

/// Counts a refusal.
pub(super) fn refused(reason: Reason) {
    counter!("mcp_guard_refusals_total", "reason" => reason.as_str()).increment(1);
}

/// Counts a message that reached the handlers and took `seconds`.
pub(super) fn ended(call: &Call, outcome: Outcome, seconds: f64) {
    let (method, label) = (call.method.label(), outcome.label());
    if let Some(handle) = REQUESTS.get(call.method.index()).and_then(|row| row.get(outcome.index())) {
        let new = || counter!("mcp_guard_requests_total", "method" => method, "outcome" => label);
        handle.get_or_init(new).increment(1);
    }
    if let Some(handle) = DURATIONS.get(call.method.index()) {
        let new = || histogram!("mcp_guard_request_duration_seconds", "method" => method);
        handle.get_or_init(new).record(seconds);
    }
    if let Some(tool) = call.tool() {
        tool_called(tool, outcome);
    }
}

/// Takes note of how long a try took.
pub(super) fn tried(seconds: f64) {
    UPSTREAM_DURATION.get_or_init(|| histogram!("mcp_guard_upstream_duration_seconds")).record(seconds);
}

fn tool_called(tool: &str, outcome: Outcome) {
    let known = TOOLS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(counters) = known.get(tool) {
        return count(counters, tool, outcome);
    }
    let is_full = known.len() >= TOOL_LABELS_MAX;
    drop(known);
    if is_full || tool.len() > TOOL_LABEL_BYTES_MAX || !shows_a_tool(outcome) {
        return count(&OTHER_TOOLS, "other", outcome);
    }
    let mut known = TOOLS.write().unwrap_or_else(PoisonError::into_inner);
    count(known.entry(tool.into()).or_insert([const { OnceLock::new() }; Outcome::COUNT]), tool, outcome);
}

fn count(counters: &ByOutcome, tool: &str, outcome: Outcome) {
    let new = || counter!("mcp_guard_tool_calls_total", "tool" => tool.to_owned(), "outcome" => outcome.label());
    if let Some(handle) = counters.get(outcome.index()) {
        handle.get_or_init(new).increment(1);
    }
}

/// Whether the name is a tool's, and not one that a client made up.
///
/// Only success shows that: nodes answer a tool that they do not have with any of the others, SDKs even with a result that is an
/// error.
fn shows_a_tool(outcome: Outcome) -> bool {
    outcome == Outcome::Ok
}

/// Tells the installed recorder what each metric of the library means, and its unit.
pub fn describe_metrics() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    for (name, meaning) in COUNTERS {
        describe_counter!(*name, *meaning);
    }
    for (name, meaning) in GAUGES {
        describe_gauge!(*name, *meaning);
    }
    for (name, meaning) in HISTOGRAMS {
        describe_histogram!(*name, Unit::Seconds, *meaning);
    }
}

/// Every counter, with its meaning. The names are contract.
pub const COUNTERS: &[(&str, &str)] = &[
    ("mcp_guard_requests_total", "Messages that reached the guard's concerns, by method and how they ended."),
    ("mcp_guard_refusals_total", "Messages that the guard did not forward, by reason."),
    ("mcp_guard_tool_calls_total", "Calls of tools, by tool and how they ended."),
    ("mcp_guard_retries_total", "Calls that were repeated, by what came of it."),
    ("mcp_guard_hedges_total", "Calls that were sent a second time while the first was out, by which answer won."),
    ("mcp_guard_rate_limited_total", "Calls that a rate limit refused, by rule."),
    ("mcp_guard_rate_limit_evictions_total", "Callers forgotten because a rate limit's table was full."),
    ("mcp_guard_trace_context_dropped_total", "Malformed parts of callers' trace context, by field."),
    ("mcp_guard_validation_reports_total", "Messages that broke a schema and were let through, by check."),
    ("mcp_guard_validation_unchecked_total", "Calls whose arguments no schema was there for, by reason."),
    ("mcp_guard_tool_schemas_skipped_total", "Schemas of tools that cannot be used, by reason."),
    ("mcp_guard_tool_lists_total", "Lists of tools that the guard asked for itself, by how they ended."),
    (
        "mcp_guard_session_failovers_total",
        "Sessions whose node was gone: another has taken them over (reinitialized), or none did (given_up); and those of another process that go on here (handed_over).",
    ),
    ("mcp_guard_tls_handshakes_total", "Handshakes with clients: completed, failed, or left before their end."),
    (
        "mcp_guard_certificate_reloads_total",
        "Changed files of TLS: reloaded, or no good, so that the ones before are kept.",
    ),
    (
        "mcp_guard_config_reloads_total",
        "Reloads of the config: applied, unchanged, or rejected, so that the one before counts.",
    ),
    ("mcp_guard_spans_dropped_total", "Spans that no collector got: no room to wait (full), or the export failed."),
    (
        "mcp_guard_log_lines_dropped_total",
        "Log lines that were not written: more than 100 a second of their kind came (rate), the output takes none (full), or it failed.",
    ),
    ("mcp_guard_results_replaced_total", "Results that broke their output schema and were replaced by an error."),
];

/// Every gauge, with its meaning.
pub const GAUGES: &[(&str, &str)] = &[
    ("mcp_guard_in_flight", "Calls that the node is working on."),
    ("mcp_guard_queue_depth", "Calls that wait for a place."),
    ("mcp_guard_concurrency_limit", "How many calls the node may work on at once now."),
    ("mcp_guard_breaker_state", "0 passing (closed), 1 probing (half-open), 2 tripped (open)."),
    ("mcp_guard_connections", "Open client connections."),
    ("mcp_guard_tasks", "Tasks of the runtimes that serve clients, each second."),
    (
        "mcp_guard_memory_bytes",
        "Memory of the guard's process that is in use (RSS), each second; children have their own.",
    ),
    ("mcp_guard_memory_limit_bytes", "What may be in use: limits.memory, or the limit of the cgroup if that is less."),
    ("mcp_guard_memory_pressure", "How short memory is: 0 not, 1 to 3 the marks at which ever more is refused."),
    ("mcp_guard_sessions", "Sessions that the guard keeps itself."),
    ("mcp_guard_upstream_healthy", "1 if the node is well, else 0."),
    ("mcp_guard_config_rejected", "1 while the config that was read last does not count, because it cannot, else 0."),
    (
        "mcp_guard_certificate_expiry_timestamp_seconds",
        "When a certificate of the guard's own ends, by the section that names it; seconds since 1970.",
    ),
    ("mcp_guard_build_info", "Always 1; the labels say what runs."),
];

/// Every histogram, with its meaning.
pub const HISTOGRAMS: &[(&str, &str)] = &[
    ("mcp_guard_request_duration_seconds", "From the message read to its answer ended."),
    ("mcp_guard_upstream_duration_seconds", "From a try sent to its answer ended."),
    ("mcp_guard_queue_wait_seconds", "How long admitted calls waited for a place."),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn has_label(tool: &str) -> bool {
        TOOLS.read().unwrap().contains_key(tool)
    }

    #[test]
    fn names_that_clients_make_up_take_no_label() {
        for outcome in
            [Outcome::ToolError, Outcome::RpcError(-32602), Outcome::ServerError(-32603), Outcome::HttpError(500)]
        {
            for number in 0..=TOOL_LABELS_MAX {
                tool_called(&format!("made_up_{number}"), outcome);
            }
        }
        tool_called("of_its_own", Outcome::Ok);
        assert!(has_label("of_its_own") && !has_label("made_up_0"));
        tool_called("of_its_own", Outcome::ToolError);
        assert!(has_label("of_its_own"));
    }
}
