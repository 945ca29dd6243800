//! The metrics of the stack as a whole. Handles are looked up once; labels are bounded.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use metrics::{Counter, Histogram, counter, histogram};

use crate::call::Call;
use crate::outcome::Outcome;
use crate::refusal::Reason;

/// So many tools get a label of their own; calls of any further one are counted under `other`.
const TOOL_LABELS_MAX: usize = 256;

type Table<K, V> = LazyLock<Mutex<HashMap<K, V>>>;

static REFUSALS: Table<Reason, Counter> = LazyLock::new(Mutex::default);
static REQUESTS: Table<(&'static str, &'static str), Counter> = LazyLock::new(Mutex::default);
static DURATIONS: Table<&'static str, Histogram> = LazyLock::new(Mutex::default);
static TOOLS: Table<&'static str, HashMap<Box<str>, Counter>> = LazyLock::new(Mutex::default);

/// Counts a refusal.
pub(super) fn refused(reason: Reason) {
    let mut handles = REFUSALS.lock().unwrap_or_else(PoisonError::into_inner);
    let handle = handles.entry(reason);
    handle.or_insert_with(|| counter!("mcp_guard_refusals_total", "reason" => reason.as_str())).increment(1);
}

/// Counts a message that reached the handlers and took `seconds`.
pub(super) fn ended(call: &Call, outcome: Outcome, seconds: f64) {
    let (method, outcome) = (call.method.label(), outcome.label());
    {
        let mut handles = REQUESTS.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || counter!("mcp_guard_requests_total", "method" => method, "outcome" => outcome);
        handles.entry((method, outcome)).or_insert_with(new).increment(1);
    }
    {
        let mut handles = DURATIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || histogram!("mcp_guard_request_duration_seconds", "method" => method);
        handles.entry(method).or_insert_with(new).record(seconds);
    }
    if let Some(tool) = call.tool() {
        tool_called(tool, outcome);
    }
}

fn tool_called(tool: &str, outcome: &'static str) {
    let mut handles = TOOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let tools = handles.entry(outcome).or_default();
    let tool = if tools.contains_key(tool) || tools.len() < TOOL_LABELS_MAX { tool } else { "other" };
    if let Some(handle) = tools.get(tool) {
        return handle.increment(1);
    }
    let handle = counter!("mcp_guard_tool_calls_total", "tool" => tool.to_owned(), "outcome" => outcome);
    handle.increment(1);
    tools.insert(tool.into(), handle);
}
