//! `mcp-guard demo`: the lines that it prints do what it says they do.

use std::process::Command;

use mcp_guard_tests::peers::skip_unless;
use mcp_guard_tests::{Guard, patiently};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");

/// The shell line that follows the comment starting with `# name:`.
fn line<'a>(printed: &'a str, name: &str) -> &'a str {
    let mut lines = printed.lines().skip_while(|line| !line.starts_with(&format!("# {name}:")));
    lines.nth(1).expect("a line for each protection")
}

/// What the line prints.
fn run(printed: &str, name: &str) -> String {
    let output = Command::new("sh").args(["-c", line(printed, name)]).output().expect("a shell");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn each_line_shows_its_protection() {
    if !skip_unless(Command::new("curl").arg("--version").output().is_ok(), "curl is installed") {
        return;
    }
    let (guard, printed) = Guard::demo(PROGRAM);
    assert!(printed.contains(&guard.url()) && printed.contains("/metrics"));
    assert!(run(&printed, "validation").contains("/b"));
    let limited = run(&printed, "rate limit");
    assert!(limited.contains("200") && limited.trim_end().ends_with("429"), "{limited}");
    let mut queued: Vec<_> = run(&printed, "queue").split_whitespace().map(str::to_owned).collect();
    queued.sort();
    assert_eq!(queued, ["200", "200", "503"]);
    assert!(run(&printed, "retry").contains("it worked"));
    assert_eq!(guard.metric("mcp_guard_retries_total{outcome=\"success\"}"), 1.0);
    assert_eq!(run(&printed, "breaker").trim(), "502 502 502 502 502 503 503");
    let traced = run(&printed, "tracing");
    assert!(traced.contains("x-request-id") && traced.contains("\"3\""), "{traced}");
    patiently("nothing is left in flight", || guard.metric("mcp_guard_in_flight") == 0.0);
}
