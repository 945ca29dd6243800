//! What the fuzz targets check, for the seeds in `fuzz/seeds`. Those of HTTP/1 are looked at beside its parser.

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks/breaker.rs"]
mod breaker;
#[path = "../fuzz/checks/config.rs"]
mod config;
#[path = "../fuzz/checks/message.rs"]
mod message;
#[path = "../fuzz/checks/schema.rs"]
mod schema;
#[path = "../fuzz/checks/sessions.rs"]
mod sessions;
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
fn messages() {
    for_each_seed("message", message::check);
}

#[test]
fn schemas() {
    for_each_seed("schema", schema::check);
}

#[test]
fn session_tables() {
    for_each_seed("sessions", sessions::check);
}

#[test]
fn trace_contexts() {
    for_each_seed("trace_context", trace_context::check);
}
