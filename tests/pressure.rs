//! More load than a node bears, and nodes that die under it: the short forms of what `shapes` and `overload` measure. What is
//! counted here is what comes of calls, not how long they take.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_guard_benches::pressure::{
    Ask, Attempt, BusyNode, Capacity, Driven, End, Faults, Mood, Phase, Population, Retry, Sessions, Sidecar, drive,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const MS: Duration = Duration::from_millis(1);

/// 40 calls a second.
const CAPACITY: Capacity = Capacity { places: 4, service: Duration::from_millis(100), waste: 0.0 };

/// The guard's own sessions, which outlive the node's.
const KEPT: &str = ", sessions: {failover: reinitialize}";

fn population(last: u8, lanes: usize, phases: &[(u64, f64)], sessions: Sessions) -> Population {
    Population {
        name: format!("client {last}"),
        source: Ipv4Addr::new(127, 0, 0, last),
        lanes,
        phases: phases.iter().map(|(ms, rate)| Phase::steady("", Duration::from_millis(*ms), *rate)).collect(),
        ask: Ask::Call,
        retry: Retry::Never,
        sessions,
    }
}

fn is_answered(attempt: &&Attempt) -> bool {
    attempt.end == End::Answered
}

#[track_caller]
fn assert_none_is_wrong(driven: &[Driven]) {
    let wrong = driven.iter().flat_map(|driven| &driven.attempts).find(|attempt| matches!(attempt.end, End::Wrong(_)));
    assert!(wrong.is_none(), "{wrong:?}");
}

#[tokio::test]
async fn a_spike_over_a_node_that_dies_in_it_gives_no_wrong_answer_and_is_over_afterwards() {
    let node = BusyNode::start(CAPACITY).unwrap();
    let config = "  rate_limits: []\n  breaker: {open: 100ms}\n";
    let guard = Sidecar::start(Path::new(PROGRAM), node.address(), config, KEPT).unwrap();
    let node = Arc::new(Mutex::new(node));
    let spike = population(2, 300, &[(100, 0.0), (1_500, 300.0)], Sessions::WhileNeeded(300 * MS));
    let mut beside = None;
    let plan = vec![(700 * MS, Mood::Dead), (1_100 * MS, Mood::Well)];
    let begun = |start| beside = Some(Faults::begin(Arc::clone(&node), plan, start));
    let driven = drive(guard.address(), vec![spike], begun).await.unwrap();
    beside.unwrap().end().unwrap();
    assert_none_is_wrong(&driven);
    assert_eq!(driven[0].attempts.len(), 450);
    // Each wave of a few calls takes its time, and the breaker lets nobody pass for a second at most.
    for _ in 0..30 {
        let steady = population(3, 8, &[(500, 16.0)], Sessions::WhileNeeded(1_000 * MS));
        let driven = drive(guard.address(), vec![steady], |_| ()).await.unwrap();
        assert_none_is_wrong(&driven);
        if driven[0].attempts.iter().all(|attempt| is_answered(&attempt)) {
            return;
        }
    }
    panic!("calls still fail, long after the node has come back");
}

#[tokio::test]
async fn sessions_that_their_http_node_has_forgotten_go_on_without_a_call_that_fails() {
    let node = BusyNode::start(CAPACITY).unwrap();
    let guard = Sidecar::start(Path::new(PROGRAM), node.address(), "  rate_limits: []\n", KEPT).unwrap();
    let node = Arc::new(Mutex::new(node));
    // No call is out when the node dies, and each session calls again after it.
    let callers = population(2, 16, &[(400, 40.0), (2_600, 0.0), (1_600, 20.0)], Sessions::Stay);
    let mut beside = None;
    let plan = vec![(2_500 * MS, Mood::Dead), (2_600 * MS, Mood::Well)];
    let begun = |start| beside = Some(Faults::begin(Arc::clone(&node), plan, start));
    let driven = drive(guard.address(), vec![callers], begun).await.unwrap();
    beside.unwrap().end().unwrap();
    let failed: Vec<_> = driven[0].attempts.iter().filter(|attempt| !is_answered(attempt)).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(driven[0].attempts.len(), 16 + 32);
    let failovers = guard.figures().unwrap()["mcp_guard_session_failovers_total"];
    assert!(failovers >= 16.0, "{failovers}");
}

#[tokio::test]
async fn ten_times_too_many_calls_are_refused_as_they_come_and_neither_pings_nor_other_clients_suffer() {
    let node = BusyNode::start(CAPACITY).unwrap();
    let config = "  rate_limits: []\n  queue: {max_wait: 500ms, target_delay: 100ms}\n";
    let guard = Sidecar::start(Path::new(PROGRAM), node.address(), config, "").unwrap();
    let stands = Duration::from_millis(1_500);
    let noisy = population(2, 200, &[(3_500, 400.0)], Sessions::Stay);
    let pings = Population { ask: Ask::Ping, ..population(3, 8, &[(3_500, 20.0)], Sessions::Stay) };
    let quiet = population(4, 8, &[(3_500, 4.0)], Sessions::Stay);
    let driven = drive(guard.address(), vec![noisy, pings, quiet], |_| ()).await.unwrap();
    assert_none_is_wrong(&driven);
    let [noisy, pings, quiet] = driven.as_slice() else { panic!("three called") };
    for driven in [pings, quiet] {
        let late = driven.attempts.iter().filter(|attempt| attempt.due >= stands);
        let not_answered: Vec<_> = late.filter(|attempt| !is_answered(attempt)).collect();
        assert!(not_answered.is_empty(), "{not_answered:?}");
    }
    let late: Vec<_> = noisy.attempts.iter().filter(|attempt| attempt.sent >= stands).collect();
    let refused: Vec<_> = late.iter().filter(|attempt| matches!(attempt.end, End::Refused(_))).collect();
    let (answered, came) = (late.iter().filter(|attempt| is_answered(attempt)).count(), late.len());
    assert!(
        came >= 700 && refused.len() + answered == came,
        "{answered} answered, {} refused of {came}",
        refused.len()
    );
    assert!(answered >= 30, "the node works on: {answered}");
    assert!(refused.iter().all(|attempt| attempt.retry_after.is_some()));
    let waited = refused.iter().filter(|attempt| attempt.end == End::Refused("queue_timeout")).count();
    assert!(waited * 20 < refused.len(), "{waited} of {} waited in vain", refused.len());
}
