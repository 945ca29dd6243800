//! A guard that tells all it can: logs at trace level, spans and log lines to a collector, its pages, and its refusals.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use mcp_guard_tests::{Guard, Reply, patiently};
use serde_json::{Value, json};

use crate::PROGRAM;
use crate::collector::Collector;
use crate::secret::Secret;

/// How the log is written, and who asks for all of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Log {
    /// JSON lines, by the config.
    Json,
    /// Text, by `RUST_LOG`.
    Text,
}

/// A guard, and all that it told.
#[derive(Debug)]
pub(crate) struct Scene {
    /// The guard.
    pub(crate) guard: Guard,
    /// Whether the lines of its log go to the collector of the scene.
    pub(crate) is_collected: bool,
    collector: Collector,
    folder: tempfile::TempDir,
    told: Vec<(String, String)>,
    reasons: Vec<String>,
}

/// The pages of a guard.
const PAGES: [&str; 6] = ["/metrics", "/config", "/status", "/livez", "/readyz", "/startupz"];

impl Scene {
    /// Starts a guard with this config, but for what it tells.
    pub(crate) fn start(log: Log, config: Value) -> Self {
        Self::with(log, config, &[], Guard::with_config)
    }

    /// The same, and does not wait until its node is well.
    pub(crate) fn unready(log: Log, config: Value) -> Self {
        Self::with(log, config, &[], Guard::unready)
    }

    /// The same, with variables in its environment.
    pub(crate) fn with(
        log: Log,
        mut config: Value,
        environment: &[(&str, &str)],
        start: fn(&str, &str) -> Guard,
    ) -> Self {
        let (collector, folder) = (Collector::start(), tempfile::tempdir().expect("a folder"));
        config["telemetry"] = telemetry(log, &format!("http://{}", collector.address), &config["telemetry"]);
        let mut environment = environment.to_vec();
        if matches!(log, Log::Text) {
            environment.push(("RUST_LOG", "trace"));
        }
        let guard = start(&starter(&folder, &environment), &config.to_string());
        Self { guard, is_collected: true, collector, folder, told: Vec::new(), reasons: Vec::new() }
    }

    /// Takes note of a refusal.
    #[track_caller]
    pub(crate) fn refused(&mut self, reply: &Reply, reason: &str) {
        assert_eq!(reply.reason().as_deref(), Some(reason), "{} {}", reply.status, reply.text());
        self.tell("an answer", format!("{:?} {}", reply.headers, reply.text()));
        self.reasons.push(reason.to_owned());
    }

    /// Takes note of anything else that somebody is told.
    pub(crate) fn tell(&mut self, by: &str, text: String) {
        self.told.push((by.to_owned(), text));
    }

    /// What is in the log by now, wherever it is written.
    pub(crate) fn log(&self) -> String {
        ["out", "err"].map(|name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()).concat()
    }

    /// Takes note of the pages as they are now.
    pub(crate) fn read_pages(&mut self) {
        for page in PAGES {
            let text = self.guard.get(page).map(|reply| reply.text()).unwrap_or_default();
            assert!(!text.is_empty(), "{page} says nothing");
            self.tell(page, text);
        }
    }

    /// Ends the guard, asserts that none of `secrets` was told to anybody, and gives the reasons of its refusals.
    #[track_caller]
    pub(crate) fn end(mut self, secrets: &[Secret]) -> Vec<String> {
        self.read_pages();
        self.guard.signal("TERM");
        assert_eq!(self.guard.wait(), Some(0), "{}", self.log());
        self.after_end(secrets)
    }

    /// The same, of one that has ended.
    #[track_caller]
    pub(crate) fn after_end(mut self, secrets: &[Secret]) -> Vec<String> {
        let log = self.log();
        assert!(log.contains("serving") && log.contains("draining"), "no whole log: {log}");
        self.tell("the log", log);
        if self.is_collected {
            patiently("the collector has the last lines", || self.collector.text().contains("drained"));
        }
        self.tell("the collector", self.collector.text());
        assert_none(&self.told, secrets);
        self.reasons
    }
}

fn telemetry(log: Log, otlp: &str, more: &Value) -> Value {
    let mut logs = match log {
        Log::Json => json!({"format": "json", "level": "trace", "output": "stdout"}),
        Log::Text => json!({"format": "text", "level": "info"}),
    };
    logs["otlp"] = otlp.into();
    logs["protocol"] = "http".into();
    let traces = json!({"otlp": otlp, "protocol": "http", "sample": 1.0, "errors": true});
    let mut telemetry = json!({"logs": logs, "traces": traces});
    if let (Some(telemetry), Some(more)) = (telemetry.as_object_mut(), more.as_object()) {
        telemetry.extend(more.clone());
    }
    telemetry
}

/// A program that is the guard, with these variables; what it writes goes to files of the folder.
fn starter(folder: &tempfile::TempDir, environment: &[(&str, &str)]) -> String {
    let file: PathBuf = folder.path().join("guard");
    let variables: String = environment.iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let exec = format!("exec {PROGRAM} \"$@\" >{} 2>{}", out.display(), err.display());
    fs::write(&file, format!("#!/bin/sh\n{variables}{exec}\n")).expect("it is written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it can be run");
    file.to_str().expect("a plain path").to_owned()
}

/// Asserts that none of `secrets` is in what was `told`, and says of each where, and in which form.
#[track_caller]
pub(crate) fn assert_none(told: &[(String, String)], secrets: &[Secret]) {
    let mut found = Vec::new();
    for (by, text) in told {
        let lowered = text.to_lowercase();
        for secret in secrets.iter().filter(|secret| !(secret.is_callers() && by == "an answer")) {
            if let Some((form, around)) = secret.find(text, &lowered) {
                found.push(format!("{}, {form}, in {by}: {around}", secret.place()));
            }
        }
    }
    assert!(!secrets.is_empty() && found.is_empty(), "{} leaks:\n{}", found.len(), found.join("\n"));
}
