//! Alerts, dashboard and runbook: they fit each other and the metrics, and a real Prometheus and Alertmanager take them.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mcp_guard_tests::peers::{Peer, skip_unless};
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, call_tool, free_address, patiently, send, send_to};
use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");

const RULES: &str = include_str!("../deploy/prometheus/rules.yaml");
const RULE_TESTS: &str = include_str!("../deploy/prometheus/rules_test.yaml");
const DASHBOARD: &str = include_str!("../deploy/grafana/mcp-guard.json");
const METRICS: &str = include_str!("../docs/metrics.md");
const PAGES: &str = "https://github.com/mcp-guard/mcp-guard/blob/main/docs/runbook";

/// What Debian calls it, and what its makers do.
const ALERTMANAGERS: [&str; 2] = ["prometheus-alertmanager", "alertmanager"];

/// An alert of the rules.
struct Alert {
    name: &'static str,
    severity: &'static str,
    page: &'static str,
}

/// All of them. The file is ours, and promtool sees to it that it is a file of rules.
fn alerts() -> Vec<Alert> {
    let alert = |rule: &'static str| Alert {
        name: rule.lines().next().unwrap_or_default(),
        severity: field(rule, "labels: {severity: ").trim_end_matches('}'),
        page: field(rule, "runbook_url: "),
    };
    let alerts: Vec<_> = RULES.split("- alert: ").skip(1).map(alert).collect();
    assert!(alerts.len() > 20, "only {} alerts", alerts.len());
    alerts
}

/// What follows `name` in the first line of `rule` that begins with it.
fn field(rule: &'static str, name: &str) -> &'static str {
    let mut lines = rule.lines().map(str::trim);
    lines.find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name} in {rule}"))
}

/// The repository's own file or folder `path`.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The runbook's pages by the name of their alert, and its index as `README`.
fn pages() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(repository("docs/runbook")).expect("the runbook");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let page = |path: PathBuf| {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a plain name").to_owned();
        (name, std::fs::read_to_string(path).expect("a page"))
    };
    paths.map(page).collect()
}

/// All that could be names of metrics, recorded ones too.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))
}

/// Whether `program` can be run.
fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn has_promtool() -> bool {
    skip_unless(runs("promtool"), "promtool is installed")
}

#[track_caller]
fn promtool(command: &str, file: &Path) {
    let output = Command::new("promtool").args([command, "rules"]).arg(file).output().expect("promtool runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
}

/// Each `expr` in a dashboard, with values for Grafana's variables.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member.as_str().filter(|_| key == "expr") {
                    Some(expression) => found.push(with_values(expression)),
                    None => expressions(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

fn with_values(expression: &str) -> String {
    let variables = [("$__rate_interval", "5m"), ("$__range", "1h"), ("$job", ".+"), ("$instance", ".+")];
    variables.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[test]
fn the_rules_can_be_loaded_and_their_tests_pass() {
    if has_promtool() {
        promtool("check", &repository("deploy/prometheus/rules.yaml"));
        promtool("test", &repository("deploy/prometheus/rules_test.yaml"));
    }
}

#[test]
fn every_query_of_the_dashboard_can_be_read() {
    let mut found = Vec::new();
    expressions(&serde_json::from_str(DASHBOARD).expect("JSON"), &mut found);
    assert!(found.len() > 40, "only {} queries", found.len());
    assert_eq!(found.iter().find(|query| query.contains('$')), None, "a variable that is not known here");
    if has_promtool() {
        // promtool reads expressions in rules only, and JSON is YAML.
        let rule = |(place, query): (usize, &String)| json!({"record": format!("query_{place}"), "expr": query});
        let rules: Vec<_> = found.iter().enumerate().map(rule).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("queries.yaml");
        let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
        std::fs::write(&file, groups.to_string()).expect("the rules are written");
        promtool("check", &file);
    }
}

#[test]
fn every_alert_has_its_page_and_every_page_its_alert() {
    let (alerts, pages) = (alerts(), pages());
    let index = &pages.iter().find(|(name, _)| name == "README").expect("an index").1;
    for alert in &alerts {
        let (name, severity) = (alert.name, alert.severity);
        assert_eq!(alert.page, format!("{PAGES}/{name}.md"));
        assert!(index.contains(&format!("| [{name}]({name}.md) | {severity} |")), "the index has no {name}");
        let page = pages.iter().find(|(page, _)| page == name);
        let text = &page.unwrap_or_else(|| panic!("docs/runbook/{name}.md is missing")).1;
        assert!(
            text.starts_with(&format!("# {name}\n")) && text.contains(&format!("Severity: `{severity}`")),
            "{name}"
        );
        for part in ["## Meaning", "## Impact", "## Check", "## Action"] {
            assert!(text.contains(part), "{name} has no {part}");
        }
    }
    let known: BTreeSet<_> = alerts.iter().map(|alert| alert.name).chain(["README"]).collect();
    let unknown: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "pages without an alert: {unknown:?}");
}

#[test]
fn every_alert_is_tested_where_it_fires_and_where_it_does_not() {
    for Alert { name, .. } in alerts() {
        let silent = format!("alertname: {name}, exp_alerts: []");
        assert!(RULE_TESTS.contains(&silent), "no test has {name} silent");
        let fires = format!("alertname: {name}\n        exp_alerts:\n");
        assert!(RULE_TESTS.contains(&fires), "no test has {name} firing");
    }
}

#[test]
fn every_metric_that_is_asked_for_exists() {
    let known: BTreeSet<_> = words(METRICS).filter(|word| word.starts_with("mcp_guard_")).collect();
    let recorded: BTreeSet<_> = RULES.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect();
    assert!(known.len() > 20 && recorded.len() > 5, "{known:?} {recorded:?}");
    let pages = pages();
    let texts = pages.iter().map(|(_, text)| text.as_str()).chain([RULES, DASHBOARD]);
    let asked: BTreeSet<_> = texts.flat_map(words).collect();
    let exists = |word: &str| {
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|end| word.strip_suffix(end));
        known.contains(word) || base.is_some_and(|base| known.contains(base))
    };
    let unknown: Vec<_> = asked
        .into_iter()
        .filter(|word| {
            if word.contains(":mcp_guard_") {
                !recorded.contains(word)
            } else {
                word.starts_with("mcp_guard_") && !exists(word)
            }
        })
        .collect();
    assert!(unknown.is_empty(), "not in docs/metrics.md, and not recorded: {unknown:?}");
}

/// The rules as they are, but that every `for:` is one second where the file has minutes. What they ask for stays.
fn impatient_rules() -> String {
    let impatient = |line: &str| match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 1s\n"),
        _ => format!("{line}\n"),
    };
    RULES.lines().map(impatient).collect()
}

fn alertmanager(program: &str, folder: &Path) -> Peer {
    let address = free_address();
    let config = folder.join("alertmanager.yaml");
    let nobody = json!({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]});
    std::fs::write(&config, nobody.to_string()).expect("the config is written");
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.path={}", folder.join("alertmanager").display()));
    // The second turns its cluster off, which would listen on all addresses.
    command.arg(format!("--web.listen-address={address}")).arg("--cluster.listen-address=");
    Peer::start(&mut command, address)
}

/// Scrapes `guard` each second by our rules, which do not wait, and tells `alertmanager`.
fn prometheus(folder: &Path, guard: SocketAddr, alertmanager: SocketAddr) -> Peer {
    let address = free_address();
    let (config, rules) = (folder.join("prometheus.yaml"), folder.join("rules.yaml"));
    std::fs::write(&rules, impatient_rules()).expect("the rules are written");
    let each_second = json!({"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"});
    let at = |address: SocketAddr| json!([{"targets": [address.to_string()]}]);
    let yaml = json!({
        "global": each_second,
        "rule_files": [rules.to_str().expect("a plain path")],
        "alerting": {"alertmanagers": [{"static_configs": at(alertmanager)}]},
        "scrape_configs": [{"job_name": "mcp-guard", "static_configs": at(guard)}],
    });
    std::fs::write(&config, yaml.to_string()).expect("the config is written");
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
    command.arg(format!("--web.listen-address={address}"));
    Peer::start(&mut command, address)
}

/// The first value that `prometheus` has for `query`; `null` if there is none.
fn value(prometheus: &Peer, query: &str) -> Value {
    let reply = send_to(prometheus.address(), "GET", &format!("/api/v1/query?query={query}"), &[], "");
    reply.json()["data"]["result"][0]["value"][1].clone()
}

/// The alert called `name`, as `alertmanager` shows it; `null` if it has none.
fn told(alertmanager: &Peer, name: &str) -> Value {
    let reply = send_to(alertmanager.address(), "GET", "/api/v2/alerts", &[], "");
    let alerts = reply.json().as_array().cloned().unwrap_or_default();
    alerts.into_iter().find(|alert| alert["labels"]["alertname"] == name).unwrap_or_default()
}

/// Waits until `alertmanager` shows that alert.
fn wait_for(alertmanager: &Peer, name: &str) -> Value {
    let mut alert = Value::Null;
    patiently(&format!("{name} fires"), || {
        alert = told(alertmanager, name);
        !alert.is_null()
    });
    alert
}

#[test]
fn alertmanager_is_told_of_a_node_that_dies_and_then_of_the_last_one() {
    let program = ALERTMANAGERS.into_iter().find(|program| runs(program)).filter(|_| runs("prometheus"));
    let there = skip_unless(program.is_some(), "prometheus and alertmanager are installed");
    let Some(program) = program.filter(|_| there) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (Peer::conformance_node(NODE), Peer::conformance_node(NODE));
    let upstream = format!("urls: ['{}', '{}'], health: {{interval: 200ms, timeout: 200ms}}", one.url(), other.url());
    let guard = Guard::with_config(PROGRAM, &format!("upstreams: [{{{upstream}}}]"));
    let alertmanager = alertmanager(program, folder.path());
    let prometheus = prometheus(folder.path(), guard.admin, alertmanager.address());
    patiently("both nodes are seen to be well", || value(&prometheus, "sum(mcp_guard_upstream_healthy)") == "2");

    let gone = one.address().to_string();
    drop(one);
    let ticket = wait_for(&alertmanager, "McpGuardNodeUnhealthy");
    let labels = &ticket["labels"];
    assert_eq!((&labels["node"], &labels["severity"]), (&json!(gone), &json!("ticket")));
    assert_eq!(labels["instance"], guard.admin.to_string());
    assert_eq!(ticket["annotations"]["runbook_url"], format!("{PAGES}/McpGuardNodeUnhealthy.md"));
    assert!(told(&alertmanager, "McpGuardNoNodeHealthy").is_null(), "the other node is well");

    drop(other);
    let page = wait_for(&alertmanager, "McpGuardNoNodeHealthy");
    assert_eq!(page["labels"]["severity"], "page");
    patiently("one page is enough", || told(&alertmanager, "McpGuardNodeUnhealthy").is_null());
}

#[test]
fn the_metrics_page_is_as_prometheus_wants_it() {
    if !has_promtool() {
        return;
    }
    let node = Upstream::start();
    let guard = Guard::run(PROGRAM, &["--upstream", &node.url()]);
    // Of each kind of metric there is some.
    for tool in ["echo", "broken", "error"] {
        send(guard.listen, &[], call_tool(1, tool, json!({})).to_string());
    }
    let page = guard.get("/metrics").expect("the page").text();
    assert!(["process_start_time_seconds ", "mcp_guard_tool_calls_total{"].iter().all(|name| page.contains(name)));
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool runs");
    promtool.stdin.take().expect("its input").write_all(page.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
