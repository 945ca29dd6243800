//! What the fuzz targets check, for the seeds in `fuzz/seeds`. Those of modules that are built in place are looked at beside them.

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks/breaker.rs"]
mod breaker;
#[path = "../fuzz/checks/config.rs"]
mod config;
#[path = "../fuzz/checks/config_reload.rs"]
mod config_reload;
#[path = "../fuzz/checks/message.rs"]
mod message;
#[path = "../fuzz/checks/queue.rs"]
mod queue;
#[path = "../fuzz/checks/queue_model.rs"]
mod queue_model;
#[path = "../fuzz/checks/retry_budget.rs"]
mod retry_budget;
#[path = "../fuzz/checks/schema.rs"]
mod schema;
#[path = "../fuzz/checks/schema_differential.rs"]
mod schema_differential;
#[path = "../fuzz/checks/sessions.rs"]
mod sessions;
#[path = "../fuzz/checks/sse.rs"]
mod sse;
#[path = "../fuzz/checks/trace_context.rs"]
mod trace_context;

fn for_each_seed(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let seeds: Vec<_> = fs::read_dir(folder).expect("seeds").map(|entry| entry.expect("a seed").path()).collect();
    assert!(!seeds.is_empty());
    for seed in seeds {
        check(&fs::read(seed).expect("a readable seed"));
    }
}

#[test]
fn breakers() {
    for_each_seed("breaker", breaker::check);
}

#[test]
fn configs() {
    for_each_seed("config", config::check);
}

#[test]
fn config_reloads() {
    for_each_seed("config_reload", config_reload::check);
}

#[test]
fn messages() {
    for_each_seed("message", message::check);
}

#[test]
fn queues() {
    for_each_seed("queue", queue::check);
}

#[test]
fn retry_budgets() {
    for_each_seed("retry_budget", retry_budget::check);
}

#[test]
fn schemas() {
    for_each_seed("schema", schema::check);
}

#[test]
fn schemas_by_another_validator() {
    for_each_seed("schema_differential", schema_differential::check);
}

#[test]
fn session_tables() {
    for_each_seed("sessions", sessions::check);
}

#[test]
fn streams_of_events() {
    for_each_seed("sse", sse::check);
}

#[test]
fn trace_contexts() {
    for_each_seed("trace_context", trace_context::check);
}
