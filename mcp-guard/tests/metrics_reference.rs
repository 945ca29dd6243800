//! `docs/metrics.md` says what the tables of metrics say, and the tables name what the code counts.

#[path = "reference/mod.rs"]
mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use mcp_guard::middleware::{COUNTERS, GAUGES, HISTOGRAMS};

#[test]
fn the_metrics_reference_is_up_to_date() {
    reference::assert_page("docs/metrics.md", &page(), "metrics_reference");
}

#[test]
fn every_metric_that_is_recorded_is_described() {
    let described: BTreeSet<_> = tables().into_iter().flat_map(|(_, rows)| rows).map(|(name, _)| *name).collect();
    let recorded = recorded();
    assert!(recorded.len() > 10, "{recorded:?}");
    let missing: Vec<_> = recorded.keys().filter(|name| !described.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not in the tables of middleware/metrics.rs: {missing:?}");
}

type Rows = &'static [(&'static str, &'static str)];

fn tables() -> [(&'static str, Rows); 3] {
    [("Counters", COUNTERS), ("Gauges", GAUGES), ("Histograms", HISTOGRAMS)]
}

fn page() -> String {
    let recorded = recorded();
    let mut page = String::from(HEAD);
    for (title, rows) in tables() {
        let _ = write!(page, "\n## {title}\n\n| name | labels | meaning |\n| --- | --- | --- |\n");
        for (name, meaning) in rows {
            let note = if recorded.contains_key(*name) { "" } else { " Not recorded yet: the name is reserved." };
            let labels = recorded.get(*name).into_iter().flatten().map(|label| format!("`{label}`"));
            let _ = writeln!(page, "| `{name}` | {} | {meaning}{note} |", labels.collect::<Vec<_>>().join(", "));
        }
    }
    page.push_str(TAIL);
    page
}

/// The metrics that the code records, each with its labels, as the source has them.
fn recorded() -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, text) in reference::sources() {
        for kind in ["counter!(", "gauge!(", "histogram!("] {
            let uses = text.match_indices(kind).map(|(at, _)| &text[at + kind.len()..]);
            for (name, rest) in uses.filter_map(|rest| rest.trim_start().strip_prefix('"')?.split_once('"')) {
                found.entry(name.into()).or_default().extend(labels(rest));
            }
        }
    }
    found
}

/// The `"label" =>` of what is left of one macro call.
fn labels(rest: &str) -> impl Iterator<Item = String> {
    let call = rest.split(';').next().unwrap_or_default();
    call.match_indices("\" =>").filter_map(move |(end, _)| Some(call[..end].rsplit_once('"')?.1.to_owned()))
}

const HEAD: &str = "\
# Metrics

<!-- Written from the tables in mcp-guard/src/middleware/metrics.rs by mcp-guard/tests/metrics_reference.rs: UPDATE=1 cargo nextest run -p mcp-guard metrics_reference -->

`GET /metrics` of the admin address shows them in Prometheus' text format. The library records them through the `metrics`
crate: whoever installs a recorder has them, and without one they cost next to nothing. `mcp_guard::describe_metrics()` gives the
recorder the meanings below. Counters appear when they first count.

Labels are bounded: a method that MCP does not know is `other`; of tools, the first 256 that once succeeded have a label of their
own in `tool_calls_total` and all others are `other`, so that names which clients make up take no place; in `breaker_state` the
first 1,024 that tripped (the node itself is `tool=\"\"`);
`rule` and `node` come from the config, all other labels from fixed lists.
";

const TAIL: &str = "
Values of `outcome` in `mcp_guard_requests_total` and `mcp_guard_tool_calls_total`: `ok`, `tool_error`, `rpc_error`, `server_error`,
`http_error`, `http_refused`, `unreachable`, `broken`, `replaced`, `timed_out`, `too_large`, `cancelled`, `refused`. What each says about the node and the tool
is in [ADR 0003](adr/0003-what-counts-as-a-failure.md). Values of `reason` in `mcp_guard_refusals_total` are in [errors.md](errors.md).
";
