//! The program: its output, its files and its exit codes.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::harness::liar::{Liar, Said, echo, say, status};
use crate::harness::server::{Habits, Server};

fn load(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mcp-load")).args(arguments).output().unwrap()
}

#[track_caller]
fn assert_code(output: &Output, code: i32) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn a_clean_run_exits_with_0_and_prints_a_table() {
    let server = Server::start(Habits::default());
    let output = load(&[&server.url, "--sessions", "2", "--calls", "5"]);
    assert_code(&output, 0);
    let table = String::from_utf8(output.stdout).unwrap();
    let total = table.lines().find(|line| line.starts_with("total")).unwrap();
    assert_eq!(total.split_whitespace().nth(3), Some("10"), "{table}");
    assert!(table.contains("p99.9") && table.contains("2 opened"), "{table}");
}

#[test]
fn a_failure_exits_with_1_and_is_named() {
    let liar = Liar::start(|number, call| if number == 3 { Said::Answer(status(503)) } else { say(echo(call)) });
    let output = load(&[&liar.url, "--calls", "5"]);
    assert_code(&output, 1);
    assert!(String::from_utf8(output.stdout).unwrap().contains("FAILED in call: status_503 1"));
}

#[test]
fn an_interrupted_run_reports_what_was_there_until_then() {
    let server = Server::start(Habits::default());
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-load"));
    command.args([&server.url, "--seconds", "600", "--rate", "100"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut load = command.spawn().unwrap();
    // The first line of progress: by then there were calls.
    let mut progress = BufReader::new(load.stderr.take().unwrap());
    progress.read_line(&mut String::new()).unwrap();
    rustix::process::kill_process(Pid::from_child(&load), Signal::INT).unwrap();
    std::io::copy(&mut progress, &mut std::io::sink()).unwrap();
    let output = load.wait_with_output().unwrap();
    assert_code(&output, 0);
    let table = String::from_utf8(output.stdout).unwrap();
    let total: Vec<&str> = table.lines().find(|line| line.starts_with("total")).unwrap().split_whitespace().collect();
    let number = |index: usize| total[index].parse::<f64>().unwrap();
    assert!(number(2) < 60.0 && number(3) >= 50.0, "{table}");
    // What was still to come was not left out for want of a free session.
    assert!(number(5) < 100.0, "{table}");
}

#[test]
fn a_run_without_a_call_exits_with_1() {
    let server = Server::start(Habits::default());
    assert_code(&load(&[&server.url, "--seconds", "0.1", "--rate", "0"]), 1);
}

#[test]
fn wrong_arguments_exit_with_2() {
    for arguments in [
        &["ftp://localhost"][..],
        &["https://localhost/mcp"],
        &["http://localhost/mcp", "--phase", "x"],
        &["http://localhost/mcp", "--bytes", "3"],
        &["http://localhost/mcp", "--revision", "2026-07-28", "--mix", "ping=1"],
        &["http://localhost/mcp", "--seconds", "0"],
        &["http://localhost/mcp", "--json", "/nowhere/report.json"],
        &["https://localhost/mcp", "--ca", "/nowhere/ca.pem"],
        &["http://localhost/mcp", "--sessions", "0"],
        &[],
    ] {
        let output = load(arguments);
        assert_code(&output, 2);
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_json_has_everything_under_stable_names() {
    let server = Server::start(Habits::default());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let watch = format!("this={}", std::process::id());
    let arguments =
        [&server.url, "--calls", "3", "--json", file.to_str().unwrap(), "--watch", &watch, "--think-ms", "1"];
    assert_code(&load(&arguments), 0);
    let report: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&report),
        "report_version url revision http threads total phases methods sessions open_latency_us streams failures first_connect_error processes"
    );
    assert_eq!(
        keys(&report["total"]),
        "sessions seconds rate_per_second calls calls_failed calls_unsent calls_per_second latency_us corrected_latency_us"
    );
    assert_eq!(keys(&report["total"]["corrected_latency_us"]), "count min mean p50 p90 p99 p99_9 max");
    assert_eq!(keys(&report["methods"][0]), "method calls calls_failed latency_us");
    assert_eq!(keys(&report["sessions"]), "opened open open_peak ended end_refused lost reconnects");
    assert_eq!(keys(&report["failures"]), "open call stream close");
    assert_eq!(
        keys(&report["processes"][0]),
        "name processes cpu_seconds phase_cpu_seconds cpu_us_per_call rss_bytes rss_peak_bytes"
    );
    assert_eq!(report["processes"][0]["name"], "this");
    assert!(report["processes"][0]["rss_bytes"].as_u64() > Some(0));
}

#[test]
fn progress_comes_once_a_second_unless_it_is_quiet() {
    let server = Server::start(Habits::default());
    let lines = |more: &[&str]| {
        let output = load(&[&[server.url.as_str(), "--seconds", "1.2", "--rate", "50"], more].concat());
        assert_code(&output, 0);
        String::from_utf8(output.stderr).unwrap().lines().count()
    };
    assert_eq!((lines(&[]), lines(&["--quiet"])), (1, 0));
}

#[test]
fn who_verifies_nothing_is_told_so() {
    let server = Server::start(Habits { tls: true, ..Habits::default() });
    let output = load(&[&server.url, "--calls", "2", "--insecure", "--quiet"]);
    assert_code(&output, 0);
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("WARNING: --insecure"));
}
