//! `check` and `drain`, as people and hooks call them.

use std::process::{Command, Output};

use mcp_guard_tests::certificates::Authority;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Wire, call_tool, patiently, post};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

/// What `check` says to a config, each line without the name of the file.
fn checked(yaml: &str, flags: &[&str]) -> (Option<i32>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guard.yaml");
    std::fs::write(&file, yaml).unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("check").arg("-c").arg(&file).args(flags).env("GUARD_TEST_PORT", "3000").env_remove("GUARD_TEST_NONE");
    let Output { status, stderr, .. } = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&stderr).into_owned();
    let name = file.display().to_string();
    (status.code(), text.lines().map(|line| line.strip_prefix(&name).unwrap_or(line).to_owned()).collect())
}

#[test]
fn check_looks_at_the_files_that_a_config_names() {
    let authority = Authority::default();
    let pair = authority.issue("guard", &["localhost"]);
    let config = |tls: &serde_json::Value| {
        json!({"listeners": [{"tls": tls}], "upstreams": [{"url": "http://127.0.0.1:1/mcp"}]}).to_string()
    };
    assert_eq!(checked(&config(&json!({"certificate": pair.certificate, "key": pair.key})), &[]), (Some(0), vec![]));
    let (code, lines) = checked(&config(&json!({"certificate": "/nowhere/tls.crt", "key": pair.key})), &[]);
    assert_eq!(code, Some(2));
    assert!(lines[0].starts_with(": listeners[0].tls.certificate: /nowhere/tls.crt: "), "{lines:?}");
}

#[test]
fn check_looks_for_programs_only_if_it_is_asked_to() {
    let config = |program: &str| json!({"upstreams": [{"command": [program]}]}).to_string();
    assert_eq!(checked(&config("sh"), &["--online"]), (Some(0), vec![]));
    assert_eq!(checked(&config("no-such-program"), &[]), (Some(0), vec![]));
    let (code, lines) = checked(&config("no-such-program"), &["--online"]);
    assert_eq!(code, Some(2));
    assert!(lines[0].starts_with(": upstreams[0].command[0]: no-such-program: "), "{lines:?}");
}

#[test]
fn check_knows_when_a_certificate_has_expired() {
    let authority = Authority::default();
    let pair = authority.issue_expired("guard", &["localhost"]);
    let tls = json!({"certificate": pair.certificate, "key": pair.key});
    let config = json!({"listeners": [{"tls": tls}], "upstreams": [{"url": "http://127.0.0.1:1/mcp"}]}).to_string();
    assert_eq!(
        checked(&config, &[]),
        (Some(2), vec![": listeners[0].tls.certificate: has expired: no client accepts it".into()])
    );
}

#[test]
fn check_resolves_names_only_if_it_is_asked_to() {
    let config = json!({"upstreams": [{"url": "http://node.invalid:3000/mcp"}]}).to_string();
    assert_eq!(checked(&config, &[]), (Some(0), vec![]));
    let (code, lines) = checked(&config, &["--online"]);
    assert_eq!(code, Some(2));
    assert!(lines[0].contains("node.invalid:3000 cannot be resolved"), "{lines:?}");
    let config = json!({"upstreams": [{"url": "http://localhost:3000/mcp"}]}).to_string();
    assert_eq!(checked(&config, &["--online"]), (Some(0), vec![]));
}

#[test]
fn a_config_may_name_variables_of_the_environment() {
    // Within braces YAML wants them quoted, and so they are texts there.
    let config =
        "upstreams:\n  - url: http://127.0.0.1:${GUARD_TEST_PORT}/mcp\n    connections: ${GUARD_TEST_NONE:-7}\n";
    assert_eq!(checked(config, &[]), (Some(0), vec![]));
    let (code, lines) = checked("upstreams: [{url: \"${GUARD_TEST_NONE}\"}]\n", &[]);
    assert_eq!(code, Some(2));
    assert!(lines[0].starts_with(":1:19: upstreams[0].url: the environment has no GUARD_TEST_NONE: "), "{lines:?}");
}

#[test]
fn drain_waits_for_calls_in_flight() {
    let node = Upstream::start();
    let mut guard = Guard::run(PROGRAM, &["--upstream", &node.url()]);
    let admin = guard.admin.to_string();
    let drain = |wait: &str| {
        Command::new(PROGRAM).args(["drain", "--admin", &admin, "--wait", wait]).output().expect("it runs")
    };
    let mut held = Wire::connect(guard.listen);
    held.write(post(guard.listen, &[], call_tool(1, "hold", json!({})).to_string()));
    patiently("it has arrived", || node.calls() == 1);
    let output = drain("300ms");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("connections are still open after 300ms"));
    node.release(1);
    assert_eq!(held.message().status, 200);
    assert!(guard.wait() == Some(0));
    assert_eq!(drain("1s").status.code(), Some(1), "nobody is there any more");
}
