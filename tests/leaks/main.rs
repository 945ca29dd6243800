//! Nothing that is secret leaks: secrets are planted in arguments, results, tokens, headers, certificates and configs, every
//! refusal and failure is driven with all of the log written, and none of them is in what the guard tells: its log in both
//! forms, spans and log lines at a collector, its pages, its answers, and what it says of a config.
//!
//! What is told by design, so that nothing is planted there: names of tools, prompts and methods; ids of requests (JSON-RPC's,
//! `X-Request-Id`, trace context); the revision that a client asks for; paths of files; keys of a config. A node's standard
//! error is passed on to the log line by line, whatever it says: that is what it is for, so a node that writes its secrets
//! there gives them away itself. The answers of a node are passed on to the one who asked. Of the id of a session the log and
//! the spans have the beginning, by which its lines are found: too little to use it.

mod clients;
mod collector;
mod configs;
mod crash;
mod edge;
mod exporters;
mod failing_node;
mod links;
mod load;
mod node;
mod planted;
mod scene;
mod secret;
mod stdio;
mod tls;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mcp_guard::refusal::Reason;

use crate::scene::Log;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const NODE: &str = env!("CARGO_BIN_EXE_stdio-node");

/// Where refusals are driven: the reasons, and how. Each has a test of its own, which sees that just those came.
const DRIVERS: [&[Reason]; 8] = [
    edge::REASONS,
    load::REASONS,
    load::REASONS_OF_CONNECTIONS,
    load::REASONS_AT_THE_END,
    load::REASONS_OF_MEMORY,
    node::REASONS,
    node::REASONS_OF_A_BREAKER,
    stdio::REASONS,
];

/// What nothing refuses yet (ARCHITECTURE.md, "Not built yet").
const UNUSED: [(Reason, &str); 2] = [(Reason::Unauthorized, "Unauthorized"), (Reason::Forbidden, "Forbidden")];

#[test]
fn every_reason_to_refuse_has_a_driver_or_is_not_used() {
    let driven: BTreeSet<_> = DRIVERS.into_iter().flatten().map(|reason| reason.as_str()).collect();
    let unused: BTreeSet<_> = UNUSED.iter().map(|(reason, _)| reason.as_str()).collect();
    let all: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(&driven | &unused, all, "a reason without a driver, or a driver without a reason");
    assert!(driven.is_disjoint(&unused));
    for folder in ["mcp-guard/src", "mcp-guard-sidecar/src"] {
        let text = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder));
        for (_, variant) in UNUSED {
            assert!(!text.contains(&format!("Reason::{variant}")), "{folder} uses {variant}: it needs a driver here");
        }
    }
}

fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let texts =
        entries.map(|path| if path.is_dir() { sources(&path) } else { fs::read_to_string(path).expect("text") });
    texts.collect()
}

/// Asserts that just `reasons` came.
#[track_caller]
fn assert_all(came: Vec<String>, reasons: &[Reason]) {
    let came: BTreeSet<_> = came.into_iter().collect();
    assert_eq!(came, reasons.iter().map(|reason| reason.as_str().to_owned()).collect::<BTreeSet<_>>());
}

/// Does `drive` with the log in both forms.
fn in_both(drive: fn(Log)) {
    [Log::Json, Log::Text].into_iter().for_each(drive);
}
