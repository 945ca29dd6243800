//! What may be written into a config file, and what is said about the rest.

use serde_json::{Value, json};

use super::*;
use crate::config::ToolPolicy;
use crate::matcher::Pattern;

fn rule(value: Value) -> Result<RateLimitPolicy, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

fn limits(value: Value) -> Result<RateLimits, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

#[test]
fn the_default_is_what_the_contract_says() {
    let written = json!([
        {"name": "per-client", "key": ["client"], "rate": "100/s", "burst": 100},
        {"name": "per-tool", "key": ["client", "tool"], "match": {"method": "tools/call"}, "rate": "50/s", "burst": 50},
    ]);
    assert_eq!(limits(written).unwrap(), RateLimits::default());
}

#[test]
fn rules_are_written_as_they_were_read() {
    let written = json!([{"name": "a", "key": ["subject", "method", "session"], "match": {"tool": "x_*", "subject": "team/*"},
                          "rate": "600/m", "burst": 7, "keys_max": 5}]);
    assert_eq!(serde_json::to_value(limits(written.clone()).unwrap()).unwrap(), written);
}

#[test]
fn the_burst_is_what_the_rate_counts_unless_told() {
    let policy = rule(json!({"name": "a", "key": [], "rate": "600/m"})).unwrap();
    assert_eq!((policy.burst().get(), policy.interval().as_millis()), (600, 100));
    assert_eq!(policy.full_refill().as_secs(), 60);
}

#[test]
fn an_interval_is_rounded_up_so_that_the_rate_is_never_exceeded() {
    let policy = rule(json!({"name": "a", "key": [], "rate": "3/s"})).unwrap();
    assert_eq!(policy.interval().as_nanos(), 333_333_334);
}

#[test]
fn what_cannot_be_meant_is_refused_with_what_is_allowed() {
    for (value, expected) in [
        (
            json!({"name": "A b", "key": [], "rate": "1/s"}),
            "name is `A b`: allowed are 1 to 64 of a-z, 0-9, `_` and `-`",
        ),
        (json!({"name": "", "key": [], "rate": "1/s"}), "name is ``: allowed are 1 to 64"),
        (json!({"name": "a", "key": ["client", "client"], "rate": "1/s"}), "key names a part twice"),
        (json!({"name": "a", "key": ["ip"], "rate": "1/s"}), "unknown variant `ip`, expected one of `client`"),
        (
            json!({"name": "a", "key": [], "rate": "1/h", "burst": 10_000}),
            "burst is 10000: at 1/h that takes longer than 365 days",
        ),
        (json!({"name": "a", "key": [], "rate": "1/s", "burst": 0}), "expected a nonzero u32"),
        (
            json!({"name": "a", "key": [], "rate": "1/s", "keys_max": 10_000_001}),
            "keys_max is 10000001: allowed is 1 to 10000000",
        ),
        (
            json!({"name": "a", "key": [], "rate": "1/s", "match": {"path": "x"}}),
            "unknown field `path`, expected one of `method`",
        ),
        (json!({"name": "a", "key": [], "rate": "1/s", "cost": 2}), "unknown field `cost`"),
        (json!({"name": "a", "rate": "1/s"}), "missing field `key`"),
    ] {
        let error = rule(value.clone()).unwrap_err();
        assert!(error.contains(expected), "{value}: {error}");
    }
}

#[test]
fn rules_that_cannot_stand_together_are_refused() {
    let named = |name: &str| json!({"name": name, "key": [], "rate": "1/s"});
    assert!(limits(json!([named("a"), named("a")])).unwrap_err().contains("two rules are called `a`"));
    let many: Vec<Value> = (0..17).map(|index| named(&format!("r{index}"))).collect();
    assert!(limits(json!(many)).unwrap_err().contains("17 rules: allowed are 16"));
}

#[test]
fn a_tool_that_costs_more_than_a_rule_ever_allows_is_found() {
    let tools: Vec<ToolPolicy> = serde_json::from_value(json!([{"name": "report_*", "cost": 9}])).unwrap();
    let with = |matching: Value| {
        limits(json!([{"name": "a", "key": [], "rate": "8/s", "match": matching}])).unwrap().check_costs(&tools)
    };
    assert_eq!(
        with(json!({})).unwrap_err().to_string(),
        "a call of `report_*` costs 9, but rule `a` never allows more than 8: raise its burst"
    );
    assert!(with(json!({"tool": "report_day"})).is_err());
    assert!(with(json!({"tool": "rep*", "method": "tools/*"})).is_err());
    assert!(with(json!({"tool": "echo"})).is_ok());
    assert!(with(json!({"method": "tools/list"})).is_ok());
    assert!(limits(json!([{"name": "a", "key": [], "rate": "9/s"}])).unwrap().check_costs(&tools).is_ok());
}

#[test]
fn what_is_at_the_bound_may_be_meant() {
    let policy = rule(json!({"name": "a", "key": [], "rate": "1/h", "burst": 8_760, "keys_max": 10_000_000})).unwrap();
    assert_eq!((policy.full_refill(), policy.keys_max().get()), (FULL_REFILL_MAX, 10_000_000));
    assert!(rule(json!({"name": "a", "key": [], "rate": "1/h", "burst": 8_761})).is_err());
    let named = |bytes| rule(json!({"name": "a".repeat(bytes), "key": [], "rate": "1/s"}));
    assert!(named(NAME_BYTES_MAX).is_ok() && named(NAME_BYTES_MAX + 1).is_err() && named(2 * NAME_BYTES_MAX).is_err());
}

#[test]
fn a_rule_tells_which_calls_it_is_about_and_is_written_without_that_where_it_is_about_all() {
    let matching = CallMatch { subject: Some(Pattern::new("team/*")), ..CallMatch::default() };
    let all = rule(json!({"name": "a", "key": [], "rate": "1/s"})).unwrap();
    assert_eq!(*all.clone().matching(matching.clone()).call_match(), matching);
    assert_eq!(
        serde_json::to_value(&all).unwrap(),
        json!({"name": "a", "key": [], "rate": "1/s", "burst": 1, "keys_max": 100_000})
    );
}
