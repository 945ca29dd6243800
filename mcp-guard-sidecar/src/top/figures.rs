//! What is to be seen, of two samples of a guard.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Sample;
use super::page::{Page, Series};

/// What a guard does, as of the time between two samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) version: String,
    /// Whether it drains.
    pub(super) is_draining: bool,
    /// Why the newest config does not count.
    pub(super) config_rejected: Option<String>,
    /// Messages a second.
    pub(super) rate: f64,
    /// Seconds that half of the requests take at most, and 99 of 100; `None` where there were none.
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
    /// Messages a second by how they ended, refusals by reason, retries by what came of them.
    pub(super) outcomes: Vec<(String, f64)>,
    pub(super) refusals: Vec<(String, f64)>,
    pub(super) retries: Vec<(String, f64)>,
    pub(super) tools: Vec<Tool>,
    pub(super) nodes: Vec<Node>,
    /// Breakers that do not pass: node, tool (empty for the node's own), and whether it is being tried.
    pub(super) breakers: Vec<(String, String, bool)>,
    /// Gauges, in the order in which they are shown.
    pub(super) levels: Vec<(&'static str, f64)>,
    pub(super) memory_bytes: f64,
    pub(super) memory_limit_bytes: f64,
    /// 0 to 3.
    pub(super) memory_mark: f64,
}

/// Calls of one tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tool {
    pub(super) name: String,
    /// Calls a second.
    pub(super) rate: f64,
    /// Those of them that did not end well.
    pub(super) failing: f64,
    /// All calls since the guard started.
    pub(super) total: f64,
}

/// A node, and how it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) is_well: bool,
    pub(super) why: String,
}

const LEVELS: [&str; 5] = ["in_flight", "queue_depth", "concurrency_limit", "sessions", "connections"];

impl Figures {
    pub(super) fn between(before: &Sample, now: &Sample) -> Self {
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64().max(1e-3);
        let (old, new) = (&before.page, &now.page);
        let rates = |name: &str, label: &str| {
            let earlier = old.by(name, label);
            let rate = |(value, sum): (String, f64)| {
                let rate = (sum - earlier.get(&value).copied().unwrap_or_default()).max(0.0) / seconds;
                (value, rate)
            };
            let mut rates: Vec<_> = new.by(name, label).into_iter().map(rate).collect();
            rates.sort_by(|one, other| other.1.total_cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
            rates
        };
        let quantiles = Quantiles::between(old, new);
        let status = |pointer: &str| now.status.pointer(pointer).unwrap_or(&Value::Null);
        Self {
            version: text(status("/version")),
            is_draining: status("/draining") == true,
            config_rejected: status("/config/rejected").as_str().map(str::to_owned),
            rate: (new.sum("requests_total") - old.sum("requests_total")).max(0.0) / seconds,
            p50: quantiles.at(0.5),
            p99: quantiles.at(0.99),
            outcomes: rates("requests_total", "outcome"),
            refusals: rates("refusals_total", "reason"),
            retries: rates("retries_total", "outcome"),
            tools: tools(old, new, seconds),
            nodes: nodes(status("/nodes")),
            breakers: breakers(new),
            levels: LEVELS.map(|name| (name, new.sum(name))).to_vec(),
            memory_bytes: new.sum("memory_bytes"),
            memory_limit_bytes: new.sum("memory_limit_bytes"),
            memory_mark: new.sum("memory_pressure"),
        }
    }
}

fn tools(old: &Page, new: &Page, seconds: f64) -> Vec<Tool> {
    let earlier = old.by("tool_calls_total", "tool");
    let failed = |page: &Page| {
        let mut failed = BTreeMap::<String, f64>::new();
        for series in page.of("tool_calls_total").filter(|series| series.label("outcome") != "ok") {
            *failed.entry(series.label("tool").to_owned()).or_default() += series.value;
        }
        failed
    };
    let (failed_before, failed_now) = (failed(old), failed(new));
    let of = |sums: &BTreeMap<String, f64>, name: &str| sums.get(name).copied().unwrap_or_default();
    let tool = |(name, total): (String, f64)| Tool {
        rate: (total - of(&earlier, &name)).max(0.0) / seconds,
        failing: (of(&failed_now, &name) - of(&failed_before, &name)).max(0.0) / seconds,
        total,
        name,
    };
    let mut tools: Vec<_> = new.by("tool_calls_total", "tool").into_iter().map(tool).collect();
    tools.sort_by(|one, other| other.rate.total_cmp(&one.rate).then_with(|| other.total.total_cmp(&one.total)));
    tools
}

fn nodes(nodes: &Value) -> Vec<Node> {
    let node = |node: &Value| {
        let field = |name: &str| node.get(name).unwrap_or(&Value::Null);
        Node { name: text(field("node")), is_well: field("healthy") == true, why: text(field("why")) }
    };
    nodes.as_array().into_iter().flatten().map(node).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn breakers(page: &Page) -> Vec<(String, String, bool)> {
    let tripped = page.of("breaker_state").filter(|series| series.value > 0.0);
    let breaker =
        |series: &Series| (series.label("node").to_owned(), series.label("tool").to_owned(), series.value < 2.0);
    tripped.map(breaker).collect()
}

/// How many requests took at most how long, between two pages.
struct Quantiles(Vec<(f64, f64)>);

impl Quantiles {
    fn between(old: &Page, new: &Page) -> Self {
        let counts = |page: &Page| page.by("request_duration_seconds_bucket", "le");
        let earlier = counts(old);
        let bucket = |(bound, count): (String, f64)| {
            let most = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((most, count - earlier.get(&bound).copied().unwrap_or_default()))
        };
        let mut buckets: Vec<_> = counts(new).into_iter().filter_map(bucket).collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        Self(buckets)
    }

    /// The upper bound of the bucket in which that part of them ends.
    fn at(&self, part: f64) -> Option<f64> {
        let all = self.0.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        self.0.iter().find(|(_, count)| *count >= all * part).map(|(bound, _)| *bound)
    }
}
