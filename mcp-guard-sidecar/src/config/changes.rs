//! What one config has otherwise than another, and what of that a running guard can take over.

use serde_json::Value;

use super::key_path::{KeyPath, Step};
use super::problem::{ConfigError, Place, Problem};
use super::root::Config;
use super::upstream::Upstream;

impl Config {
    /// The keys that `next` has otherwise than this config. Lists of other lengths differ as a whole.
    pub fn changes(&self, next: &Self) -> Vec<KeyPath> {
        // Nothing in a config fails to serialize.
        let values = [self, next].map(|config| serde_json::to_value(config).unwrap_or_default());
        let mut changes = Vec::new();
        let [before, after] = &values;
        compare(&KeyPath::root(), before, after, &mut changes);
        // Secrets look all the same, and only upstreams have some.
        let upstreams = KeyPath::root().key("upstreams");
        if self.upstreams() != next.upstreams() && !changes.iter().any(|path| path.is_within(&upstreams)) {
            changes.push(upstreams);
        }
        changes
    }

    /// Whether a guard that runs with this config can go on with `next`, which came from `source`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with each key that is only read when the guard starts.
    pub fn allows(&self, next: &Self, source: &str) -> Result<(), ConfigError> {
        let fixed = self.changes(next).into_iter().filter(|path| !self.is_reloaded(path));
        let what = "is another than the guard was started with, and cannot change while it runs: restart it";
        let problem = |path, what: &str| Problem { place: Place::Whole, path, what: what.into() };
        let mut problems: Vec<_> = fixed.map(|path| problem(path, what)).collect();
        let are_alike = |(one, other): (&Upstream, &Upstream)| one.target.is_like(&other.target);
        if !self.upstreams().iter().zip(next.upstreams()).all(are_alike) {
            let what = "speaks something else than the nodes that the guard was started with, which cannot change while it runs: restart it";
            problems.push(problem(KeyPath::root().key("upstreams").index(0), what));
        }
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::new(source, problems)) }
    }

    /// Whether a running guard takes a change of this key over. What sessions, listeners and what the guard tells are made of,
    /// it does not.
    fn is_reloaded(&self, path: &KeyPath) -> bool {
        let mut keys = path.steps().iter().filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        match (keys.next(), keys.next(), keys.next()) {
            (Some("guard"), Some("limits"), Some(limit)) => !matches!(limit, "sessions" | "session_idle"),
            // Where a session is a connection, as many as there may be of them were provided for.
            (Some("upstreams"), Some("connections"), _) => {
                self.upstreams().iter().all(|upstream| upstream.target.is_http())
            }
            (Some("upstreams"), Some("process"), children) => children != Some("children"),
            (Some("upstreams"), upstream, _) => !matches!(upstream, Some("era" | "profile" | "sessions")),
            (Some("guard"), Some(_), _)
            | (Some("listeners"), Some("allowed_hosts" | "allowed_origins"), _)
            | (Some("shutdown"), Some("lame_duck" | "drain"), None)
            | (Some("telemetry"), Some("logs"), Some("level")) => true,
            _ => false,
        }
    }
}

fn compare(path: &KeyPath, before: &Value, after: &Value, changes: &mut Vec<KeyPath>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let gone = before.keys().filter(|key| !after.contains_key(*key));
            for key in gone.chain(after.keys()) {
                let value = |map: &serde_json::Map<_, _>| map.get(key).cloned().unwrap_or_default();
                compare(&path.key(key), &value(before), &value(after), changes);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare(&path.index(index), before, after, changes);
            }
        }
        _ if before == after => {}
        _ => changes.push(path.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    fn config(yaml: &str) -> Config {
        Config::parse("guard.yaml", yaml, &Flags::default()).unwrap()
    }

    const NODE: &str = "upstreams: [{command: [node], process: {environment: {TOKEN: one}}}]\n";

    fn told(before: &str, after: &str) -> String {
        let [before, after] = [before, after].map(|rest| config(&format!("{NODE}{rest}")));
        before.allows(&after, "guard.yaml").map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn what_the_guard_allows_may_change() {
        let before = "guard: {rate_limits: [], queue: {concurrency: 5}, limits: {body: 1MiB}}";
        let after = "guard: {queue: {concurrency: 6, adaptive: false}, limits: {body: 2MiB, memory: 1MiB}, tools: [{name: a}]}\n\
                     shutdown: {drain: 1s}\ntelemetry: {logs: {level: debug}}\n\
                     listeners: [{allowed_hosts: [a.example]}]";
        assert_eq!(told(before, after), "");
        assert_eq!(told(after, before), "");
    }

    #[test]
    fn what_cannot_change_is_named() {
        let after =
            "listeners: [{address: 127.0.0.1:1}]\nadmin: {address: 127.0.0.1:2}\nguard: {limits: {sessions: 7}}";
        let told = told("", after);
        let lines: Vec<_> = told.lines().map(|line| line.split(": is another").next().unwrap()).collect();
        assert_eq!(
            lines,
            ["listeners[0].address", "admin.address", "guard.limits.sessions"].map(|key| format!("guard.yaml: {key}"))
        );
    }

    #[test]
    fn a_secret_that_changed_is_noticed() {
        let (before, after) = (config(NODE), config(&NODE.replace("one", "two")));
        let changes: Vec<_> = before.changes(&after).iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["upstreams"]);
        assert!(before.allows(&after, "guard.yaml").is_ok());
    }

    #[test]
    fn nodes_may_change_but_not_how_they_speak() {
        const WHERE: &str = "guard.yaml: upstreams[0]";
        let told = |before: &str, after: &str| {
            let [before, after] = [before, after].map(|upstream| config(&format!("upstreams: [{{{upstream}}}]")));
            let told = before.allows(&after, "guard.yaml").map_or_else(|error| error.to_string(), |()| String::new());
            told.lines().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect::<Vec<_>>()
        };
        let http = "url: http://a/mcp";
        for (before, after) in [
            (http, "urls: [https://b/mcp, https://c/mcp], tls: {server_name: d}, connections: 7, timeouts: {idle: 1s}"),
            ("url: tcp://a:1", "urls: [tcp://b:2, tcp://c:3], health: {interval: 9s}"),
            ("command: [a]", "command: [b, c], process: {memory: 1GiB, environment: {X: y}}"),
        ] {
            assert!(told(before, after).is_empty() && told(after, before).is_empty(), "{before} and {after}");
        }
        for (before, after, problem) in [
            (http, "url: ws://a/mcp", String::new()),
            (http, "command: [a]", String::new()),
            (http, "url: http://a/mcp, era: legacy", ".era".into()),
            (http, "url: http://a/mcp, profile: erlmcp", ".profile".into()),
            (http, "url: http://a/mcp, sessions: {failover: reinitialize}", ".sessions.failover".into()),
            ("url: tcp://a:1", "url: tcp://a:1, connections: 7", ".connections".into()),
            ("command: [a]", "command: [a], process: {children: 7}", ".process.children".into()),
        ] {
            assert_eq!(told(before, after), [format!("{WHERE}{problem}")], "{before} and {after}");
        }
    }

    #[test]
    fn a_list_that_grew_differs_as_a_whole() {
        let (before, after) = (config(NODE), config(&format!("{NODE}guard: {{tools: [{{name: a}}]}}")));
        let changes: Vec<_> = before.changes(&after).iter().map(ToString::to_string).collect();
        assert_eq!(changes, ["guard.tools"]);
    }
}
