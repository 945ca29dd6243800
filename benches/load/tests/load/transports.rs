//! HTTP/2, TLS, source addresses and idle streams against a real server.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use mcp_load::{Failure, STATELESS, Trust};

use crate::harness::server::{Habits, Server};
use crate::harness::{clean, counted, phase, report, sizes};

const TLS: Habits = Habits { tls: true, json: false, sessionless: false };

#[test]
fn sessions_share_connections_of_h2() {
    let server = Server::start(Habits::default());
    let mut spec = counted(&server.url, 10, 10);
    spec.http2_connections = NonZeroU32::new(2);
    spec.payload_bytes = sizes();
    let report = clean(spec);
    assert_eq!((report.total.calls, report.sessions.ended, report.http), (100, 10, "2"));
    assert_eq!(server.seen.connections.load(Ordering::Relaxed), 2);
    assert!(server.requests().iter().all(|request| request.starts_with("HTTP/2.0")));
}

#[test]
fn answers_in_json_and_in_sse_are_read_over_both_versions_of_http() {
    for (http2, kind) in
        [1, 2].into_iter().flat_map(|http| ["application/json", "text/event-stream"].map(|kind| (http == 2, kind)))
    {
        let is_json = kind == "application/json";
        let server = Server::start(Habits { json: is_json, sessionless: is_json, tls: false });
        let mut spec = counted(&server.url, 2, 20);
        spec.payload_bytes = sizes();
        spec.http2_connections = NonZeroU32::new(u32::from(http2));
        assert_eq!(clean(spec).total.calls, 40);
        let answers = server.seen.answers.lock().unwrap().iter().filter(|answer| *answer == kind).count();
        assert_eq!(answers, 42, "{kind}");
    }
}

#[test]
fn a_stateless_call_goes_over_h2_too() {
    let server = Server::start(Habits { json: true, ..Habits::default() });
    let mut spec = counted(&server.url, 3, 4);
    spec.http2_connections = NonZeroU32::new(1);
    spec.revision = STATELESS.into();
    assert_eq!(clean(spec).total.calls, 12);
}

#[test]
fn tls_is_verified_by_the_ca_of_the_plan() {
    let server = Server::start(TLS);
    let mut spec = counted(&server.url, 2, 5);
    spec.trust = Some(Trust::Ca(server.ca.clone()));
    assert_eq!(clean(spec).total.calls, 10);
    assert!(server.requests().iter().all(|request| request.starts_with("HTTP/1.1")));
}

#[test]
fn h2_over_tls_is_chosen_by_alpn() {
    let server = Server::start(TLS);
    let mut spec = counted(&server.url, 4, 5);
    spec.trust = Some(Trust::Ca(server.ca.clone()));
    spec.http2_connections = NonZeroU32::new(1);
    assert_eq!(clean(spec).total.calls, 20);
    assert!(server.requests().iter().all(|request| request.starts_with("HTTP/2.0")));
}

#[test]
fn a_certificate_of_somebody_else_is_a_failure_to_connect() {
    let (server, other) = (Server::start(TLS), Server::start(TLS));
    let mut spec = counted(&server.url, 1, 1);
    spec.phases = vec![phase(1, 150, None)];
    spec.trust = Some(Trust::Ca(other.ca.clone()));
    let report = report(spec);
    assert_eq!(report.total.calls, 0);
    assert!(report.failures.open.of(Failure::Connect) > 0, "{report}");
    assert!(report.first_connect_error.is_some_and(|error| error.contains("invalid peer certificate")));
}

#[test]
fn who_trusts_anybody_verifies_nothing() {
    let server = Server::start(TLS);
    let mut spec = counted(&server.url, 1, 5);
    spec.trust = Some(Trust::Anybody);
    assert_eq!(clean(spec).total.calls, 5);
}

#[test]
fn connections_come_from_the_sources_in_turn() {
    let server = Server::start(Habits::default());
    let mut spec = counted(&server.url, 6, 2);
    spec.sources = ["127.0.0.2", "127.0.0.3"].map(|source| source.parse().unwrap()).to_vec();
    clean(spec);
    let sources: Vec<_> = server.seen.sources.lock().unwrap().iter().map(|source| source.ip().to_string()).collect();
    assert_eq!(sources.iter().filter(|source| *source == "127.0.0.2").count(), 3);
    assert_eq!(sources.iter().collect::<BTreeSet<_>>().len(), 2, "{sources:?}");
}

#[test]
fn idle_streams_are_open_for_the_whole_run() {
    for http2 in [None, NonZeroU32::new(1)] {
        let server = Server::start(Habits::default());
        let mut spec = counted(&server.url, 2, 1);
        spec.calls_max = None;
        spec.phases = vec![phase(2, 300, None), phase(0, 300, None)];
        spec.streams = 5;
        spec.http2_connections = http2;
        let report = clean(spec);
        assert_eq!((report.streams.opened, report.streams.open_peak, report.streams.broken), (5, 5, 0), "{report}");
        assert_eq!((report.sessions.opened, report.sessions.ended, report.sessions.reconnects), (7, 7, 0));
        assert_eq!(server.sessions_left(), 0);
    }
}

#[test]
fn a_stream_that_breaks_is_counted_and_opened_again() {
    let server = Server::start(Habits::default());
    let mut spec = counted(&server.url, 1, 1);
    spec.calls_max = None;
    spec.phases = vec![phase(1, 1_500, None)];
    spec.streams = 3;
    let mut has_cut = false;
    let report = mcp_load::run(&spec.build().unwrap(), |progress| {
        if progress.streams_open == 3 && !has_cut {
            server.end_sessions();
            has_cut = true;
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(has_cut);
    assert_eq!(report.streams.broken, 3, "{report}");
    assert!(report.failures.stream.total() >= 3 && !report.is_clean(), "{report}");
}
