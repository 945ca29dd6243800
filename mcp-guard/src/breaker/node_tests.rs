//! The breakers of a node and its tools together.
#![expect(clippy::disallowed_methods, reason = "any instant will do as the start")]

use std::time::{Duration, Instant};

use super::node::{Ask, Change, NodeBreaker, Stop};
use super::policy::BreakerPolicy;
use super::state::Phase;
use super::tools::TOOLS_MAX;
use crate::outcome::Outcome;

const OPEN: Duration = Duration::from_secs(30);

fn node(now: Instant) -> NodeBreaker {
    NodeBreaker::new(BreakerPolicy::default(), now)
}

fn call(node: &mut NodeBreaker, tool: &str, outcome: Outcome, now: Instant) -> Result<(), Stop> {
    let pass = node.admit(Ask { tool: Some(tool), is_safe: false }, now)?;
    node.settle(pass, outcome, now);
    Ok(())
}

#[test]
fn a_failing_tool_trips_its_own_breaker_and_no_other() {
    let now = Instant::now();
    let mut node = node(now);
    for _ in 0..5 {
        call(&mut node, "bad", Outcome::ServerError(-32603), now).unwrap();
    }
    assert_eq!(call(&mut node, "bad", Outcome::Ok, now), Err(Stop { by_tool: true, retry_after: OPEN }));
    call(&mut node, "good", Outcome::Ok, now).unwrap();
    assert_eq!(node.take_changes(), [Change { tool: Some("bad".into()), phase: Phase::Tripped }]);
    assert_eq!(node.take_changes(), []);
}

#[test]
fn a_tools_own_error_and_a_callers_mistake_are_no_failures() {
    let now = Instant::now();
    let mut node = node(now);
    for outcome in [Outcome::ToolError, Outcome::RpcError(-32602), Outcome::HttpRefused(404)] {
        for _ in 0..20 {
            call(&mut node, "picky", outcome, now).unwrap();
        }
    }
    assert_eq!(node.take_changes(), []);
}

#[test]
fn a_node_that_cannot_be_reached_trips_for_all_calls_and_blames_no_tool() {
    let now = Instant::now();
    let mut node = node(now);
    for _ in 0..5 {
        call(&mut node, "any", Outcome::Unreachable, now).unwrap();
    }
    assert_eq!(call(&mut node, "other", Outcome::Ok, now), Err(Stop { by_tool: false, retry_after: OPEN }));
    assert_eq!(node.take_changes(), [Change { tool: None, phase: Phase::Tripped }]);
}

#[test]
fn the_failure_that_trips_a_tool_is_not_counted_against_the_node() {
    let now = Instant::now();
    let mut node = node(now);
    for _ in 0..5 {
        call(&mut node, "slow", Outcome::TimedOut, now).unwrap();
    }
    assert_eq!(node.take_changes(), [Change { tool: Some("slow".into()), phase: Phase::Tripped }]);
    call(&mut node, "other", Outcome::TimedOut, now).unwrap();
    assert_eq!(node.take_changes(), [Change { tool: None, phase: Phase::Tripped }], "its fifth in a row");
}

#[test]
fn the_node_and_its_tools_are_tripped_no_longer_than_another_policy_allows() {
    let now = Instant::now();
    let short = serde_json::from_value(serde_json::json!({"open": "1s"})).unwrap();
    for (outcome, by_tool) in [(Outcome::ServerError(-32603), true), (Outcome::Unreachable, false)] {
        let mut node = node(now);
        for _ in 0..5 {
            call(&mut node, "bad", outcome, now).unwrap();
        }
        node.set_policy(short, now);
        let retry_after = Duration::from_secs(10);
        assert_eq!(call(&mut node, "bad", Outcome::Ok, now), Err(Stop { by_tool, retry_after }));
    }
}

#[test]
fn a_nodes_probe_that_the_tools_breaker_refuses_leaves_the_place_to_others() {
    let start = Instant::now();
    let mut node = node(start);
    for _ in 0..5 {
        call(&mut node, "bad", Outcome::TimedOut, start).unwrap();
    }
    let now = start + OPEN;
    let _tool_probe = node.tools_for_test().admit("bad", false, now, &mut Vec::new()).unwrap();
    assert!(call(&mut node, "bad", Outcome::Ok, now).unwrap_err().by_tool);
    call(&mut node, "good", Outcome::Ok, now).unwrap();
}

#[test]
fn a_full_table_forgets_the_least_recently_used_passing_tool() {
    let now = Instant::now();
    let mut node = node(now);
    for number in 0..TOOLS_MAX + 10 {
        for _ in 0..4 {
            call(&mut node, &format!("tool-{number}"), Outcome::ServerError(-32603), now).unwrap();
        }
    }
    assert_eq!(node.tools_for_test().len(), TOOLS_MAX);
    call(&mut node, &format!("tool-{}", TOOLS_MAX), Outcome::ServerError(-32603), now).unwrap();
    assert_eq!(node.take_changes().len(), 1, "a recent tool was remembered with its four failures");
    call(&mut node, "tool-0", Outcome::ServerError(-32603), now).unwrap();
    assert_eq!(node.take_changes(), [], "the oldest was forgotten");
}

#[test]
fn a_late_result_says_nothing_about_a_tool_that_was_forgotten_meanwhile() {
    let now = Instant::now();
    let mut node = node(now);
    let late = node.admit(Ask { tool: Some("tool"), is_safe: false }, now).unwrap();
    for number in 0..TOOLS_MAX {
        call(&mut node, &format!("other-{number}"), Outcome::Ok, now).unwrap();
    }
    for _ in 0..4 {
        call(&mut node, "tool", Outcome::ServerError(-32603), now).unwrap();
    }
    node.settle(late, Outcome::ServerError(-32603), now);
    assert_eq!(node.take_changes(), []);
}

#[test]
fn a_table_full_of_tripped_tools_gives_new_ones_no_breaker_until_some_are_stale() {
    let start = Instant::now();
    let mut node = node(start);
    let trip = |node: &mut NodeBreaker, tool: &str, now| {
        for _ in 0..5 {
            call(node, tool, Outcome::ServerError(-32603), now).unwrap();
        }
        node.take_changes()
    };
    for number in 0..TOOLS_MAX {
        assert_eq!(trip(&mut node, &format!("tool-{number}"), start).len(), 1);
    }
    assert_eq!(trip(&mut node, "late", start), []);
    let stale = start + OPEN + OPEN * 10;
    let changes = trip(&mut node, "late", stale);
    let phases: Vec<_> = changes.iter().map(|change| (change.tool.as_deref().unwrap_or(""), change.phase)).collect();
    assert_eq!(phases, [("tool-0", Phase::Passing), ("late", Phase::Tripped)]);
    assert_eq!(node.tools_for_test().len(), TOOLS_MAX);
}

#[test]
fn a_tool_name_longer_than_mcp_allows_gets_no_breaker() {
    let now = Instant::now();
    let mut node = node(now);
    call(&mut node, &"x".repeat(129), Outcome::Ok, now).unwrap();
    assert_eq!(node.tools_for_test().len(), 0);
    call(&mut node, &"x".repeat(128), Outcome::Ok, now).unwrap();
    assert_eq!(node.tools_for_test().len(), 1);
}
