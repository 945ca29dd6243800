//! Who a client is, by its certificate.

use std::io::Write;
use std::sync::Arc;

use mcp_guard_tests::certificates::{Authority, Pair, secure};
use mcp_guard_tests::{Guard, Reply, Wire, patiently, post, request};
use rustls::ClientConfig;
use serde_json::json;

use crate::{guard_with, initialize, localhost};

/// A guard that asks its clients for certificates of `authority`.
fn guard(authority: &Authority, sections: &str) -> Guard {
    let ca = format!(", client_ca: {}", authority.ca().display());
    guard_with(&localhost(authority), &ca, sections)
}

fn config(authority: &Authority, pair: &Pair) -> Arc<ClientConfig> {
    Arc::new(authority.client(Some(pair)))
}

fn ping(guard: &Guard, config: &Arc<ClientConfig>, session: &str) -> Reply {
    let mut wire = Wire::secure(guard.listen, config);
    wire.write(post(guard.listen, &[("mcp-session-id", session)], request(1, "ping", json!({})).to_string()));
    wire.message()
}

#[test]
fn a_client_without_a_certificate_of_the_authority_is_not_served() {
    let authority = Authority::default();
    let guard = guard(&authority, "");
    let stranger = Authority::default();
    let of_another = stranger.issue("stranger", &["stranger"]);
    for config in [authority.client(None), authority.client(Some(&of_another))] {
        let mut stream = secure(guard.listen, &Arc::new(config));
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is sent before the refusal comes");
        // In 1.3 the refusal comes behind the handshake.
        assert!(Wire::over(stream).is_closed());
    }
    patiently("it is counted", || guard.metric("mcp_guard_tls_handshakes_total{outcome=\"failed\"}") == 2.0);
    let client = authority.issue("client", &["client"]);
    let (_, reply) = initialize(&guard, &config(&authority, &client));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[test]
fn a_session_belongs_to_whoever_opened_it() {
    let authority = Authority::default();
    let guard = guard(&authority, "");
    let ada = config(&authority, &authority.issue("ada", &["spiffe://example.org/ada", "host.example.org"]));
    let eve = config(&authority, &authority.issue("eve", &["spiffe://example.org/eve", "host.example.org"]));
    let (_, opened) = initialize(&guard, &ada);
    let session = opened.header("mcp-session-id").expect("a session").to_owned();
    let stolen = ping(&guard, &eve, &session);
    assert_eq!((stolen.status, stolen.reason().as_deref()), (404, Some("session_not_found")));
    assert_eq!(ping(&guard, &ada, &session).status, 200);
}

#[test]
fn a_resumed_connection_is_still_whose_it_was() {
    let authority = Authority::default();
    let guard = guard(&authority, "");
    let ada = config(&authority, &authority.issue("ada", &["ada"]));
    let (_, opened) = initialize(&guard, &ada);
    let session = opened.header("mcp-session-id").expect("a session").to_owned();
    assert_eq!(ping(&guard, &ada, &session).status, 200);
    let mut resumed = Wire::secure(guard.listen, &ada);
    resumed.write(post(guard.listen, &[("mcp-session-id", &session)], request(1, "ping", json!({})).to_string()));
    assert_eq!(resumed.message().status, 200);
    assert_eq!(resumed.stream().conn.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
}

#[test]
fn rate_limits_tell_clients_apart_by_their_certificates() {
    let authority = Authority::default();
    let rule = "{name: per-subject, key: [subject], rate: 1/h, burst: 1}";
    let guard = guard(&authority, &format!("guard: {{rate_limits: [{rule}]}}"));
    // Neither has a URI; one has a DNS name, the other nothing but its subject.
    let ada = config(&authority, &authority.issue("ada", &["ada.example.org"]));
    let eve = config(&authority, &authority.issue("eve", &[]));
    for client in [&ada, &eve] {
        assert_eq!(initialize(&guard, client).1.status, 200);
        let refused = initialize(&guard, client).1;
        assert_eq!((refused.status, refused.reason().as_deref()), (429, Some("rate_limited")));
    }
}
