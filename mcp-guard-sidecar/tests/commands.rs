//! The binary's commands as a shell sees them: exit code, standard output, standard error.

#![expect(clippy::unwrap_used, reason = "what a test cannot set up fails it")]

use std::path::PathBuf;
use std::process::{Command, Output};

fn mcp_guard(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mcp-guard")).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A config file, and the folder that goes when the test ends.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guard.yaml");
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

#[test]
fn check_is_silent_about_a_valid_file() {
    let (_folder, file) = file("upstreams: [{url: http://127.0.0.1:3000/mcp}]\n");
    let output = mcp_guard(&["check", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((output.stdout, output.stderr), (Vec::new(), Vec::new()));
}

#[test]
fn check_tells_each_problem_on_a_line_of_standard_error_and_exits_with_2() {
    let (_folder, file) =
        file("upstreams: [{url: http://127.0.0.1:3000/mcp}]\nadmin: {port: 1}\nshutdown: {drain: 30}\n");
    let file = file.to_str().unwrap();
    let output = mcp_guard(&["check", "--config", file]);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!(
        "{file}:2:9: admin.port: unknown key: allowed are address\n\
         {file}:3:19: shutdown.drain: `30` is not a duration: write a whole number with ms, s, m, h or d, as in 250ms\n"
    );
    assert_eq!(stderr(&output), expected);
}

#[test]
fn run_refuses_a_bad_config_and_a_bad_command_line_with_2() {
    let (_folder, file) = file("version: 2\n");
    let file = file.to_str().unwrap();
    for (arguments, told) in [
        (&["run", "-c", file][..], "guard.yaml:1:10: version: 2 is no version"),
        (&["run"], "command line: upstreams: is missing"),
        (&["run", "--upstream", "tcp://node"], "--upstream: upstreams[0].url: a tcp URL"),
        (&["run", "--listen", "localhost:1"], "\"localhost:1\" is not an address"),
        (&["run", "--upstream", "http://node/", "--", "node"], "cannot be used with"),
        (&["run", "-c", "/does/not/exist.yaml"], "/does/not/exist.yaml: cannot be read"),
        (&["check"], "--config"),
        (&["walk"], "walk"),
        (&[], "Usage"),
    ] {
        let output = mcp_guard(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(told), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn run_ends_with_1_where_there_can_be_no_tls() {
    let tls = "{certificate: /does/not/exist.crt, key: /does/not/exist.key}";
    let yaml = format!(
        "listeners: [{{address: '127.0.0.1:0', tls: {tls}}}]\nadmin: {{address: '127.0.0.1:0'}}\nupstreams: [{{url: 'http://node/'}}]"
    );
    let (_folder, file) = file(&yaml);
    let output = mcp_guard(&["run", "-c", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    let told = "listeners[0].tls.certificate: /does/not/exist.crt: cannot be read: No such file";
    assert!(stderr(&output).contains(told), "{}", stderr(&output));
}

#[test]
fn schema_prints_a_json_schema() {
    let output = mcp_guard(&["schema"]);
    assert_eq!(output.status.code(), Some(0));
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["required"], serde_json::json!(["upstreams"]));
}

#[test]
fn version_is_told() {
    let output = mcp_guard(&["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), concat!("mcp-guard ", env!("CARGO_PKG_VERSION"), "\n"));
}
