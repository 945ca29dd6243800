//! Spans and lines on their way to a collector: to one that is not there, and to a real one.

use mcp_guard_tests::peers::Peers;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, free_address, patiently};
use serde_json::json;

use crate::in_both;
use crate::load::ask;
use crate::planted::Planted;
use crate::scene::{Log, Scene};
use crate::secret::Secret;

#[test]
fn an_exporter_that_fails_over_http_says_so_without_its_key_and_what_it_should_have_sent() {
    in_both(|log| fail(log, "http"));
}

#[test]
fn an_exporter_that_fails_over_grpc_says_so_without_its_key_and_what_it_should_have_sent() {
    in_both(|log| fail(log, "grpc"));
}

fn fail(log: Log, protocol: &str) {
    let (planted, upstream) = (Planted::new(), Upstream::start());
    let key = Secret::new("the query of the collector's URL");
    let otlp = format!("http://{}/v1/it?api-key={}", free_address(), key.text());
    let telemetry = json!({
        "traces": {"otlp": otlp, "protocol": protocol, "sample": 1.0},
        "logs": {"otlp": otlp, "protocol": protocol, "level": "trace"},
    });
    let config = json!({"upstreams": [{"url": upstream.url()}], "telemetry": telemetry});
    let mut scene = Scene::start(log, config);
    scene.is_collected = false;
    assert_eq!(ask(&scene.guard, &planted, &planted.call(1, "echo")).status, 200);
    scene.refused(&ask(&scene.guard, &planted, &planted.call(2, "add")), "invalid_arguments");
    let lost = |scene: &Scene| scene.guard.metric("mcp_guard_spans_dropped_total{reason=\"failed\"}") > 0.0;
    patiently("the spans are lost", || lost(&scene) && scene.log().contains("spans are lost"));
    scene.end(&[planted.all(), vec![key]].concat());
}

/// Spans and lines as a real collector reads them.
#[test]
fn a_real_collector_is_told_none_over_grpc() {
    let Some(peers) = Peers::find(&["collector"]) else { return };
    for signal in ["traces", "logs"] {
        let (planted, upstream) = (Planted::new(), Upstream::start());
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("told");
        let (_collector, [grpc, _]) = peers.collector_of(signal, &file);
        let otlp = format!("http://{grpc}");
        let telemetry = json!({"traces": {"otlp": otlp, "sample": 1.0}, "logs": {"otlp": otlp, "level": "trace"}});
        let config = json!({"upstreams": [{"url": upstream.url()}], "telemetry": telemetry});
        let mut scene = Scene::with(Log::Text, config, &[], Guard::with_config);
        scene.is_collected = false;
        for tool in ["echo", "add", "broken", "internal"] {
            ask(&scene.guard, &planted, &planted.call(1, tool));
        }
        scene.read_pages();
        scene.guard.signal("TERM");
        assert_eq!(scene.guard.wait(), Some(0));
        let told = || std::fs::read_to_string(&file).unwrap_or_default();
        patiently("it was told of a refusal", || told().contains("invalid_arguments"));
        scene.tell("the real collector", told());
        scene.after_end(&planted.all());
    }
}
