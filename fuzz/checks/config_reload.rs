//! What a running guard can take over of another config is told key by key, whatever way round; what is secret is not told.

use std::collections::BTreeSet;

use mcp_guard_sidecar::config::{Config, Flags};
use serde_json::{Value, json};

/// A key, what it may be beside its default, and whether a running guard takes a change of it over.
type Key = (&'static str, [&'static str; 2], bool);

const KEYS: [Key; 44] = [
    ("listeners.0.address", ["127.0.0.1:1", "unix:/run/a"], false),
    ("listeners.0.proxy_protocol", ["true", "false"], false),
    ("listeners.0.path", ["/a", "/b"], false),
    ("listeners.0.sse_path", ["/c", "/d"], false),
    ("listeners.0.web_socket_path", ["/e", "/f"], false),
    ("listeners.0.share_port", ["true", "false"], false),
    ("listeners.0.tls", [r#"{"certificate":"a","key":"b"}"#, ""], false),
    ("listeners.0.allowed_hosts", [r#"["a.example"]"#, r#"["a.example","b.example"]"#], true),
    ("listeners.0.allowed_origins", [r#"["https://a.example"]"#, ""], true),
    ("admin.address", ["127.0.0.1:2", "127.0.0.1:3"], false),
    ("upstreams.0.era", ["legacy", "as_is"], false),
    ("upstreams.0.profile", ["erlmcp", ""], false),
    ("upstreams.0.sessions.failover", ["reinitialize", "off"], false),
    ("upstreams.0.timeouts.connect", ["2s", "3s"], true),
    ("upstreams.0.timeouts.first_byte", ["20s", "25s"], true),
    ("upstreams.0.timeouts.total", ["60s", "70s"], true),
    ("upstreams.0.health.interval", ["8s", "9s"], true),
    ("upstreams.0.health.unhealthy_after", ["4", "5"], true),
    ("guard.limits.body", ["1MiB", "2MiB"], true),
    ("guard.limits.sessions", ["7", "8"], false),
    ("guard.limits.session_idle", ["7s", "8s"], false),
    ("guard.limits.memory", ["2GiB", "3GiB"], true),
    ("guard.rate_limits", [r#"[]"#, r#"[{"name":"a","key":["client"],"rate":"5/s"}]"#], true),
    ("guard.validation.results", ["enforce", "off"], true),
    ("guard.queue.concurrency", ["100", "200"], true),
    ("guard.queue.adaptive", ["false", "true"], true),
    ("guard.tools", [r#"[{"name":"a"}]"#, r#"[{"name":"a"},{"name":"b"}]"#], true),
    ("guard.breaker.open", ["20s", "10s"], true),
    ("guard.retry.attempts", ["2", "4"], true),
    ("guard.trace.spans", ["false", "true"], true),
    ("shutdown.lame_duck", ["1s", "2s"], true),
    ("shutdown.drain", ["1s", "2s"], true),
    ("shutdown.grace", ["1s", "2s"], false),
    ("shutdown.hand_over", ["/run/a", "/run/b"], false),
    ("telemetry.logs.format", ["text", "json"], false),
    ("telemetry.logs.output", ["stdout", "stderr"], false),
    ("telemetry.logs.level", ["debug", "off"], true),
    ("telemetry.logs.otlp", ["http://a/?k=SECRET", "http://b/?k=SECRET"], false),
    ("telemetry.traces.otlp", ["http://a/?k=SECRET", "http://b/x?SECRET"], false),
    ("telemetry.traces.sample", ["0.5", "1"], false),
    ("telemetry.traces.errors", ["true", "false"], false),
    // Those of some nodes only.
    ("upstreams.0.connections", ["7", "8"], true),
    ("upstreams.0.process.memory", ["1GiB", "2GiB"], true),
    ("upstreams.0.process.children", ["7", "8"], false),
];

const CONNECTIONS: usize = 41;

/// Nodes, by the way in which they are called: those of one line can take each other's place.
const NODES: [[&str; 3]; 6] = [
    [r#"{"url":"http://a/mcp"}"#, r#"{"url":"http://a/mcp?key=SECRET"}"#, r#"{"url":"http://c/SECRET_NOT?SECRET"}"#],
    [r#"{"url":"ws://a/mcp"}"#, r#"{"url":"ws://a/mcp?SECRET"}"#, r#"{"url":"ws://b/?a=b&c=SECRET"}"#],
    [r#"{"url":"sse+http://a/sse"}"#, r#"{"url":"sse+http://a/sse?SECRET"}"#, r#"{"url":"sse+http://b/sse"}"#],
    [r#"{"url":"tcp://a:1"}"#, r#"{"url":"tcp://a:2"}"#, r#"{"url":"tcp://b:1"}"#],
    [r#"{"url":"unix:/a"}"#, r#"{"url":"unix:/b"}"#, r#"{"url":"unix:/c"}"#],
    [r#"{"command":["a"]}"#, r#"{"command":["a","SECRET"]}"#, r#"{"command":["a","--key=SECRET"]}"#],
];
const HTTP: usize = 0;
const COMMAND: usize = 5;

/// Nodes that nobody can mean, as people write them.
const MISTAKES: [&str; 10] = [
    r#"{"url":"http://me:SECRET@a/mcp"}"#,
    r#"{"url":["http://a/?SECRET"]}"#,
    r#"{"command":"a --key=SECRET"}"#,
    r#"{"command":["a",{"SECRET":"SECRET"}]}"#,
    r#"{"command":["a"],"process":{"environment":{"A":["SECRET"]}}}"#,
    r#"{"command":["a"],"process":{"environment":{"A":"SECRET\u0000"}}}"#,
    r#"{"command":["a"],"process":{"environment":"A=SECRET"}}"#,
    r#"{"command":["a","SECRET\u0000"]}"#,
    r#""http://me:SECRET@a/mcp""#,
    r#"{"url":"htp://me:SECRET@a/mcp"}"#,
];

/// What is written for what is secret.
const SECRET: &str = "s3cr3t";

/// One of two configs, as what it was made from.
struct Made {
    kind: usize,
    node: usize,
    /// Of each key whether it is there, and which value it has.
    chosen: [Option<usize>; KEYS.len()],
    /// The value of a variable of a child process.
    variable: Option<u8>,
    is_turned_round: bool,
    config: Config,
    /// The same, as it is shown.
    shown: Value,
}

/// Takes a byte each as what two nodes are, and then each pair of bytes as a key, and what the two configs have of it.
pub(crate) fn check(data: &[u8]) {
    let Some((&[one, other, both], rest)) = data.split_first_chunk::<3>() else { return };
    let mut written = [0; KEYS.len() + 1];
    for pair in rest.chunks_exact(2) {
        let &[key, values] = pair else { continue };
        written[usize::from(key) % (KEYS.len() + 1)] = values;
    }
    let one = make(one, both, |key| written[key] & 0xf);
    let other = make(other, both / 2, |key| written[key] >> 4);
    for made in [&one, &other] {
        assert_eq!(made.config.changes(&made.config), []);
        assert!(made.config.allows(&made.config, "a").is_ok());
        let shown = made.config.effective().to_string();
        assert!(!shown.contains(SECRET), "{shown}");
        let turned = write(made.kind, made.node, &made.chosen, made.variable, !made.is_turned_round);
        assert_eq!(made.config, parse(&turned), "the order of keys means nothing");
    }
    let ((told, fixed), (told_back, fixed_back)) = (compare(&one, &other), compare(&other, &one));
    assert_eq!(told, told_back, "what differs does so both ways");
    assert_eq!(fixed.is_empty(), fixed_back.is_empty(), "what may change may change back");
    blunder(both);
}

fn make(node: u8, both: u8, byte: impl Fn(usize) -> u8) -> Made {
    let (kind, node) = (usize::from(node % 8).min(COMMAND), usize::from(node >> 4) % 3);
    let mut chosen = [None; KEYS.len()];
    for (at, (key, values, _)) in KEYS.iter().enumerate() {
        let is_meant = kind == COMMAND || !key.starts_with("upstreams.0.process");
        let value = match byte(at) % 4 {
            1 => Some(0),
            2 => Some(1),
            _ => None,
        };
        chosen[at] = value.filter(|value| is_meant && !values[*value].is_empty());
    }
    let variable = Some(byte(KEYS.len()) % 4).filter(|byte| kind == COMMAND && *byte > 0);
    let is_turned_round = both % 2 == 1;
    let config = parse(&write(kind, node, &chosen, variable, is_turned_round));
    let shown = serde_json::to_value(&config).expect("a config is shown");
    Made { kind, node, chosen, variable, is_turned_round, config, shown }
}

fn parse(text: &str) -> Config {
    let parsed = Config::parse("guard.yaml", text, &Flags::default());
    parsed.unwrap_or_else(|error| panic!("{text} is a config: {error}"))
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

fn write(kind: usize, node: usize, chosen: &[Option<usize>], variable: Option<u8>, is_turned_round: bool) -> String {
    let mut config = json!({"upstreams": {"0": value(NODES[kind][node])}});
    for ((key, values, _), chosen) in KEYS.iter().zip(chosen) {
        let Some(chosen) = chosen else { continue };
        put(&mut config, key, value(values[*chosen]));
    }
    if let Some(variable) = variable {
        put(&mut config, "upstreams.0.process.environment.TOKEN", format!("SECRET{variable}").into());
    }
    let mut text = String::new();
    print(&config, is_turned_round, &mut text);
    text.replace("SECRET_NOT", "path").replace("SECRET", SECRET)
}

fn put(config: &mut Value, key: &str, value: Value) {
    let place = key.split('.').fold(config, |section, step| {
        if !section.is_object() {
            *section = json!({});
        }
        &mut section[step]
    });
    *place = value;
}

/// Writes `value` as YAML, the keys of each section from the first to the last or the other way; a section with the key 0 is a
/// list.
fn print(value: &Value, is_turned_round: bool, text: &mut String) {
    let Value::Object(section) = value else {
        text.push_str(&value.to_string());
        return;
    };
    if let Some(only) = section.get("0") {
        text.push('[');
        print(only, is_turned_round, text);
        text.push(']');
        return;
    }
    let mut keys: Vec<_> = section.iter().collect();
    if is_turned_round {
        keys.reverse();
    }
    text.push('{');
    for (place, (key, value)) in keys.into_iter().enumerate() {
        text.push_str(if place == 0 { "" } else { ", " });
        text.push_str(&format!("{}: ", Value::from(key.as_str())));
        print(value, is_turned_round, text);
    }
    text.push('}');
}

/// What differs, and what of that cannot change; both as they were told, after both were compared with what is known.
fn compare(one: &Made, other: &Made) -> (BTreeSet<String>, BTreeSet<String>) {
    let changes: Vec<_> = one.config.changes(&other.config);
    let told: BTreeSet<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), changes.len(), "each key is told once");
    assert_eq!(told.is_empty(), one.config == other.config);
    let verdict = one.config.allows(&other.config, "guard.yaml");
    let mut named = BTreeSet::new();
    if let Err(error) = &verdict {
        named.extend(error.problems().iter().map(|problem| problem.path.to_string()));
        assert!(!error.to_string().contains(SECRET), "{error}");
        assert!(named.iter().all(|path| error.to_string().contains(path.as_str())));
    }
    let (differs, fixed) = expected(one, other);
    let is_elsewhere = |path: &&String| !path.starts_with("upstreams");
    if one.kind == other.kind {
        assert_eq!((&told, &named), (&differs, &fixed));
    } else {
        assert!(named.contains("upstreams[0]"), "{named:?}");
        assert!(told.iter().filter(is_elsewhere).eq(differs.iter().filter(is_elsewhere)));
        assert!(named.iter().filter(is_elsewhere).eq(fixed.iter().filter(is_elsewhere)));
    }
    (told, named)
}

fn expected(one: &Made, other: &Made) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut differs, mut fixed) = (BTreeSet::new(), BTreeSet::new());
    for (at, (key, _, is_taken_over)) in KEYS.iter().enumerate() {
        let pointer = format!("/{}", key.replace('.', "/"));
        // Where one is a default, it may be what is written in the other.
        if one.chosen[at] == other.chosen[at] || one.shown.pointer(&pointer) == other.shown.pointer(&pointer) {
            continue;
        }
        let path = key.replace(".0", "[0]");
        if !(if at == CONNECTIONS { one.kind == HTTP } else { *is_taken_over }) {
            fixed.insert(path.clone());
        }
        differs.insert(path);
    }
    if one.kind == other.kind && one.node != other.node {
        let node = |made: &Made| value(NODES[made.kind][made.node]);
        // A list of another length differs as a whole, one as long where it does.
        let path = match (&node(one)["command"], &node(other)["command"]) {
            (Value::Array(one), Value::Array(other)) if one.len() == other.len() => "upstreams[0].command[1]",
            (Value::Array(_), Value::Array(_)) => "upstreams[0].command",
            _ => "upstreams[0].url",
        };
        differs.insert(path.into());
    }
    let is_told = differs.iter().any(|path| path.starts_with("upstreams"));
    match (one.variable, other.variable) {
        // Only that something of the node is another is known: nobody is told what.
        (Some(one), Some(other)) if one != other && !is_told => _ = differs.insert("upstreams".into()),
        (Some(_), None) | (None, Some(_)) => _ = differs.insert("upstreams[0].process.environment.TOKEN".into()),
        _ => {}
    }
    (differs, fixed)
}

/// What is wrong is told without what is secret.
fn blunder(which: u8) {
    let node = MISTAKES[usize::from(which) % MISTAKES.len()].replace("SECRET", SECRET);
    let parsed = Config::parse("guard.yaml", &format!("upstreams: [{node}]"), &Flags::default());
    let told = parsed.expect_err("it cannot be meant").to_string();
    assert!(!told.contains(SECRET), "{told}");
}
