//! Sessions, revisions and methods against a real server.

use std::sync::atomic::Ordering;

use mcp_load::{Method, Phase, STATELESS, Weighted};

use crate::harness::server::{Habits, Server};
use crate::harness::{clean, counted, phase};

#[test]
fn sessions_are_opened_called_in_and_ended() {
    let server = Server::start(Habits::default());
    let report = clean(counted(&server.url, 4, 25));
    assert_eq!((report.total.calls, report.total.calls_failed), (100, 0));
    assert_eq!((report.sessions.opened, report.sessions.ended, report.sessions.open), (4, 4, 0));
    assert_eq!((report.open_latency_us.count, server.sessions_left()), (4, 0));
}

#[test]
fn each_session_has_one_http1_connection() {
    let server = Server::start(Habits::default());
    clean(counted(&server.url, 4, 10));
    assert_eq!(server.seen.connections.load(Ordering::Relaxed), 4);
}

#[test]
fn a_server_without_session_ids_is_fine() {
    let server = Server::start(Habits { sessionless: true, json: true, ..Habits::default() });
    let report = clean(counted(&server.url, 2, 5));
    assert_eq!((report.sessions.opened, report.sessions.ended), (2, 2));
    assert!(!server.requests().iter().any(|request| request.contains("DELETE")));
}

#[test]
fn after_initialize_each_request_names_the_negotiated_version() {
    let server = Server::start(Habits::default());
    let mut spec = counted(&server.url, 1, 1);
    spec.revision = "2025-06-18".into();
    clean(spec);
    let post = |version| format!("HTTP/1.1 POST {version} - -");
    let delete = "HTTP/1.1 DELETE 2025-06-18 - -".to_owned();
    assert_eq!(server.requests(), [post("-"), post("2025-06-18"), post("2025-06-18"), delete]);
}

#[test]
fn a_stateless_call_is_named_in_its_headers() {
    let server = Server::start(Habits { json: true, ..Habits::default() });
    let mut spec = counted(&server.url, 2, 3);
    spec.revision = STATELESS.into();
    let report = clean(spec);
    assert_eq!((report.total.calls, report.sessions.ended), (6, 2));
    assert_eq!(server.requests(), vec![format!("HTTP/1.1 POST {STATELESS} tools/call echo"); 6]);
}

#[test]
fn methods_are_mixed_by_weight() {
    let server = Server::start(Habits::default());
    let mut spec = counted(&server.url, 4, 100);
    let other = |name: &str| Method::Other(name.into());
    spec.mix = Weighted::new([(Method::CallTool, 8), (other("tools/list"), 1), (other("ping"), 1)]).unwrap();
    let report = clean(spec);
    let calls: Vec<_> = report.methods.iter().map(|part| (part.method.as_str(), part.calls)).collect();
    let [("tools/call", echo), ("tools/list", list), ("ping", ping)] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(echo + list + ping, 400);
    assert!((270..370).contains(echo) && (10..80).contains(list) && (10..80).contains(ping), "{calls:?}");
}

#[test]
fn a_session_that_made_its_calls_is_renewed_until_the_end() {
    let server = Server::start(Habits::default());
    let mut spec = counted(&server.url, 2, 5);
    spec.phases = vec![phase(2, 300, None)];
    spec.renew = true;
    let report = clean(spec);
    assert!(report.sessions.opened > 2 && report.sessions.ended == report.sessions.opened, "{report}");
    assert_eq!(server.sessions_left(), 0);
}

#[test]
fn a_spike_opens_its_sessions_and_ends_them_again() {
    let server = Server::start(Habits::default());
    let mut spec = counted(&server.url, 0, 1);
    spec.calls_max = None;
    spec.phases = vec![phase(0, 100, None), phase(20, 400, None), phase(0, 100, None)];
    let report = clean(spec);
    let calls: Vec<_> = report.phases.iter().map(|part| part.calls).collect();
    assert!(matches!(calls.as_slice(), [0, spike, 0] if *spike >= 20), "{calls:?}");
    assert_eq!((report.sessions.opened, report.sessions.open_peak, report.sessions.ended), (20, 20, 20));
    assert_eq!(server.sessions_left(), 0);
}

#[test]
fn an_open_loop_makes_the_calls_that_are_due() {
    let server = Server::start(Habits::default());
    let mut spec = counted(&server.url, 4, 1);
    spec.calls_max = None;
    let warm: Phase = phase(4, 100, Some(0));
    spec.phases = vec![warm, phase(4, 500, Some(200))];
    let report = clean(spec);
    assert_eq!((report.phases[0].calls, report.total.calls + report.total.calls_unsent), (0, 100));
    assert!(report.total.calls >= 95, "{report}");
}

#[test]
fn a_think_time_paces_a_closed_loop_and_corrects_its_latencies() {
    let server = Server::start(Habits::default());
    let mut spec = counted(&server.url, 2, 10);
    spec.think_time = std::time::Duration::from_millis(20);
    let report = clean(spec);
    assert!(report.total.seconds >= 0.18, "{report}");
    assert!(report.total.corrected_latency_us.is_some_and(|corrected| corrected.count >= 20));
}

#[test]
fn threads_share_sessions_and_calls() {
    let server = Server::start(Habits::default());
    let mut spec = counted(&server.url, 5, 4);
    spec.threads = 2;
    let report = clean(spec);
    assert_eq!((report.total.calls, report.sessions.ended), (20, 5));
}
