//! From two pages of metrics to what is to be seen of them.

use std::time::Duration;

use serde_json::json;

use super::*;

const BEFORE: &str = r#"
# HELP mcp_guard_requests_total Messages.
# TYPE mcp_guard_requests_total counter
mcp_guard_requests_total{method="tools/call",outcome="ok"} 100
mcp_guard_tool_calls_total{tool="add",outcome="ok"} 100
mcp_guard_request_duration_seconds_bucket{method="tools/call",le="0.001"} 100
mcp_guard_request_duration_seconds_bucket{method="tools/call",le="+Inf"} 100
"#;

const NOW: &str = r#"
mcp_guard_requests_total{method="tools/call",outcome="ok"} 140
mcp_guard_requests_total{method="ping",outcome="ok"} 10
mcp_guard_requests_total{method="tools/call",outcome="broken"} 10
mcp_guard_refusals_total{reason="rate_limited"} 7
mcp_guard_tool_calls_total{tool="add",outcome="ok"} 140
mcp_guard_tool_calls_total{tool="add",outcome="broken"} 10
mcp_guard_tool_calls_total{tool="a \"quoted\", \\ one}",outcome="ok"} 2
mcp_guard_breaker_state{node="n:1",tool=""} 0
mcp_guard_breaker_state{node="n:1",tool="add"} 2
mcp_guard_request_duration_seconds_bucket{method="tools/call",le="0.001"} 140
mcp_guard_request_duration_seconds_bucket{method="tools/call",le="0.5"} 150
mcp_guard_request_duration_seconds_bucket{method="tools/call",le="+Inf"} 150
mcp_guard_in_flight 3
mcp_guard_memory_bytes 20971520
mcp_guard_memory_limit_bytes 1073741824
mcp_guard_memory_pressure 1
"#;

fn figures() -> Figures {
    let at = clock::now();
    let before = Sample { at, page: Page::parse(BEFORE), status: json!({}) };
    let status = json!({
        "version": "1.2.3",
        "draining": false,
        "config": {"rejected": "guard.yaml: bad"},
        "nodes": [{"node": "n:1", "healthy": false, "why": "connection refused"}],
    });
    Figures::between(&before, &Sample { at: at + Duration::from_secs(2), page: Page::parse(NOW), status })
}

#[test]
fn rates_are_of_the_time_between_two_samples() {
    let figures = figures();
    assert_eq!(figures.rate, 30.0);
    assert_eq!(figures.outcomes, [("ok".into(), 25.0), ("broken".into(), 5.0)]);
    assert_eq!(figures.refusals, [("rate_limited".into(), 3.5)]);
    let tool = &figures.tools[0];
    assert_eq!((&*tool.name, tool.rate, tool.failing, tool.total), ("add", 25.0, 5.0, 150.0));
    assert_eq!(figures.tools[1].name, "a \"quoted\", \\ one}");
}

#[test]
fn quantiles_are_those_of_the_requests_between() {
    assert_eq!((figures().p50, figures().p99), (Some(0.001), Some(0.5)));
}

#[test]
fn a_frame_shows_what_is_wrong() {
    let text = plain("127.0.0.1:9901".parse().unwrap(), &figures());
    for part in [
        "mcp-guard 1.2.3 at 127.0.0.1:9901",
        "MEMORY MARK 1",
        "CONFIG REJECTED",
        "30.0 messages/s   p50 ≤ 1 ms   p99 ≤ 500 ms",
        "in flight 3",
        "memory 20 of 1024 MiB",
        "rate_limited",
        "n:1, tool add",
        "TRIPPED",
        "UNWELL",
        "connection refused",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn a_screen_of_any_size_can_be_drawn() {
    let figures = figures();
    for (columns, rows) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
        let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
        let Ok(_) = terminal.draw(|frame| view::draw(frame, "127.0.0.1:1".parse().unwrap(), &figures));
    }
}

#[test]
fn what_is_no_series_is_left_out() {
    let page = Page::parse(
        "junk\nmcp_guard_a{ 1\nmcp_guard_a{b=\"c 1\nmcp_guard_a NaN?\n\nmcp_guard_a{b=\"c\"} 2 1700000000\n",
    );
    assert_eq!(page.sum("a"), 2.0);
}
