//! The official conformance suite, directly and through the guard: it must not be able to tell the difference.

use mcp_guard_tests::Guard;
use mcp_guard_tests::peers::{Checks, Peer, Peers, say, total};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");
/// The suite that was current for 2025-11-25.
const OLDER_SUITE: &str = "0.1.16";
/// The first suite that knows 2026-07-28.
const NEWER_SUITE: &str = "0.2.0-alpha.12";

/// Runs a suite against the node and against a guard in front of it, and says what both counted.
fn directly_and_guarded(suite: &str, args: &[&str]) -> Option<(Checks, Checks)> {
    let peers = Peers::find(&["node", &format!("conformance-{suite}")])?;
    let node = Peer::conformance_node(NODE);
    let directly = peers.conformance(suite, &node.url(), args);
    let guard = Guard::run(PROGRAM, &["--upstream", &node.url()]);
    let guarded = peers.conformance(suite, &guard.url(), args);
    report(suite, args, "directly", &directly);
    report(suite, args, "through the guard", &guarded);
    Some((directly, guarded))
}

fn report(suite: &str, args: &[&str], way: &str, checks: &Checks) {
    let (passed, failed) = total(checks);
    say(&format!("conformance {suite} {}: {passed} passed, {failed} failed {way}", args.join(" ")));
}

/// Asserts that the two runs agree on every scenario, and that `passed_min` checks passed.
#[track_caller]
fn assert_same(directly: &Checks, guarded: &Checks, passed_min: u32) {
    assert_eq!(guarded, directly);
    assert!(total(guarded).0 >= passed_min, "only {} checks passed", total(guarded).0);
}

#[test]
fn the_suite_of_2025_11_25_passes_as_it_does_directly() {
    let Some((directly, guarded)) = directly_and_guarded(OLDER_SUITE, &[]) else { return };
    assert_same(&directly, &guarded, 40);
    assert_eq!(total(&guarded).1, 0);
}

#[test]
fn the_requirements_of_2025_11_25_are_met_as_they_are_directly() {
    let args = ["--requirements", "2025-11-25"];
    let Some((directly, guarded)) = directly_and_guarded(NEWER_SUITE, &args) else { return };
    assert_same(&directly, &guarded, 83);
    assert_eq!(total(&guarded).1, 0);
}

#[test]
fn the_requirements_of_2026_07_28_are_met_as_they_are_directly() {
    let args = ["--requirements", "2026-07-28"];
    let Some((directly, guarded)) = directly_and_guarded(NEWER_SUITE, &args) else { return };
    assert_same(&directly, &guarded, 165);
    // The node has no tasks, an extension that the suite runs without scoring it.
    let failed = guarded.iter().filter(|(name, (_, failed))| *failed > 0 && !name.starts_with("tasks-"));
    assert_eq!(failed.collect::<Vec<_>>(), []);
}

/// Runs a suite against a guard in front of a node that only speaks revisions of the other era.
fn crosswise(node: Option<&Peer>, upstream: &str, args: &[&str]) -> Option<Checks> {
    let peers = Peers::find(&["node", &format!("conformance-{NEWER_SUITE}")])?;
    let guard = Guard::with_config(PROGRAM, &format!("upstreams: [{{{upstream}}}]"));
    let guarded = peers.conformance(NEWER_SUITE, &guard.url(), args);
    let kind = if node.is_some() {
        "with a node of the other era behind the guard"
    } else {
        "with a stdio node behind the guard"
    };
    report(NEWER_SUITE, args, kind, &guarded);
    Some(guarded)
}

fn failing(checks: &Checks) -> Vec<&str> {
    let failing = checks.iter().filter(|(name, (_, failed))| *failed > 0 && !name.starts_with("tasks-"));
    failing.map(|(name, _)| name.as_str()).collect()
}

const STATELESS: [&str; 2] = ["--requirements", "2026-07-28"];
const LEGACY: [&str; 2] = ["--requirements", "2025-11-25"];

/// A legacy node gives its questions no names, and the scenario wants the one that the suite's own server gives.
const UNNAMED: [&str; 1] = ["input-required-result-basic-elicitation"];

#[test]
fn a_stdio_node_meets_the_requirements_of_2025_11_25() {
    let Some(guarded) = crosswise(None, &format!("command: [{NODE}, --stdio]"), &LEGACY) else { return };
    // Three checks of the 83 want answers as streams, where the guard answers a lone message with JSON.
    assert_eq!(total(&guarded), (80, 0));
}

/// Asserts that all requirements of the stateless revision are met but for one, and that `passed_min` checks passed.
#[track_caller]
fn assert_stateless(guarded: &Checks, passed_min: u32) {
    assert_eq!(failing(guarded), UNNAMED);
    assert!(total(guarded).0 >= passed_min, "{:?}", total(guarded));
}

#[test]
fn a_stdio_node_meets_the_requirements_of_2026_07_28() {
    let Some(guarded) = crosswise(None, &format!("command: [{NODE}, --stdio]"), &STATELESS) else { return };
    assert_stateless(&guarded, 161);
}

#[test]
fn a_legacy_http_node_meets_the_requirements_of_2026_07_28() {
    let node = Peer::conformance_node_over(NODE, "--legacy");
    let Some(guarded) = crosswise(Some(&node), &format!("url: '{}'", node.url()), &STATELESS) else { return };
    assert_stateless(&guarded, 159);
}

#[test]
fn a_stateless_node_meets_the_requirements_of_2025_11_25() {
    let node = Peer::conformance_node_over(NODE, "--modern");
    let Some(guarded) = crosswise(Some(&node), &format!("url: '{}'", node.url()), &LEGACY) else { return };
    assert_eq!(total(&guarded), (80, 0));
}
