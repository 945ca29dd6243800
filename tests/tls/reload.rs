//! Certificates that change under a guard that serves.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mcp_guard_tests::certificates::{Authority, Pair, Secure};
use mcp_guard_tests::{Guard, Wire, patiently, post, request};
use rustls::ClientConfig;
use serde_json::json;

use crate::{guard, guard_with, initialize, localhost};

const RELOADED: &str = "mcp_guard_certificate_reloads_total{outcome=\"reloaded\"}";
const KEPT: &str = "mcp_guard_certificate_reloads_total{outcome=\"kept\"}";

fn call(guard: &Guard, wire: &mut Wire<Secure>, session: &str, id: i64) -> u16 {
    wire.write(post(guard.listen, &[("mcp-session-id", session)], request(id, "ping", json!({})).to_string()));
    wire.message().status
}

/// The certificate that a new connection is shown.
fn shown(guard: &Guard, authority: &Authority) -> Vec<u8> {
    let (wire, reply) = initialize(guard, &Arc::new(authority.client(None)));
    assert_eq!(reply.status, 200, "{}", reply.text());
    wire.stream().conn.peer_certificates().expect("a certificate")[0].to_vec()
}

#[test]
fn a_new_pair_is_shown_to_new_connections_and_open_ones_go_on() {
    let authority = Authority::default();
    let guard = guard(&localhost(&authority), "");
    let before = shown(&guard, &authority);
    let (mut open, opened) = initialize(&guard, &Arc::new(authority.client(None)));
    let session = opened.header("mcp-session-id").expect("a session").to_owned();
    // Nobody tells the guard: it looks by itself.
    localhost(&authority);
    patiently("it is reloaded", || guard.metric(RELOADED) >= 1.0 && shown(&guard, &authority) != before);
    assert_eq!(call(&guard, &mut open, &session, 1), 200);
}

#[test]
fn a_bad_pair_changes_nothing_until_it_is_put_right() {
    let authority = Authority::default();
    let pair = localhost(&authority);
    let guard = guard(&pair, "");
    let before = shown(&guard, &authority);
    let good = fs::read(&pair.key).expect("a key");
    let another = authority.issue("another", &["localhost"]);
    let expired = authority.issue_expired("expired", &["localhost"]);
    let bad: [&dyn Fn(); 4] = [
        &|| fs::copy(&another.key, &pair.key).map(drop).expect("it is written"),
        &|| fs::write(&pair.key, "no key").expect("it is written"),
        &|| fs::remove_file(&pair.key).expect("it is removed"),
        &|| {
            fs::copy(&expired.key, &pair.key).expect("it is written");
            fs::copy(&expired.certificate, &pair.certificate).map(drop).expect("it is written");
        },
    ];
    for (round, spoil) in bad.iter().enumerate() {
        let kept = guard.metric(KEPT);
        spoil();
        guard.signal("HUP");
        patiently("it is told", || guard.metric(KEPT) > kept);
        assert_eq!(shown(&guard, &authority), before, "after round {round}");
    }
    fs::write(&pair.key, good).expect("it is written");
    localhost(&authority);
    patiently("it is reloaded", || shown(&guard, &authority) != before);
}

#[test]
fn a_new_authority_of_clients_ends_what_the_old_one_had_allowed() {
    let (authority, next) = (Authority::default(), Authority::default());
    let client_ca = authority.file("clients.pem");
    fs::copy(authority.ca(), &client_ca).expect("it is written");
    let guard = guard(&localhost(&authority), &format!(", client_ca: {}", client_ca.display()));
    let client = authority.issue("client", &["client"]);
    let config = Arc::new(authority.client(Some(&client)));
    assert_eq!(initialize(&guard, &config).1.status, 200);
    fs::copy(next.ca(), &client_ca).expect("it is written");
    guard.signal("HUP");
    patiently("it is reloaded", || guard.metric(RELOADED) >= 1.0);
    // With a ticket of before, which would spare it the certificate.
    let mut wire = Wire::secure(guard.listen, &config);
    wire.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(wire.is_closed());
}

/// Loads it again and again while clients call, on connections that they keep and on new ones.
#[test]
fn a_thousand_reloads_under_load_lose_no_request() {
    let authority = Authority::default();
    let pair = localhost(&authority);
    let other = authority.issue("other", &["localhost"]);
    let pairs = [contents(&pair), contents(&other)];
    let limits = "guard: {rate_limits: [], limits: {connections_per_client: 10000}}";
    let guard = guard_with(&pair, "", limits);
    let config = Arc::new(authority.client(None));
    let (_, opened) = initialize(&guard, &config);
    let session = opened.header("mcp-session-id").expect("a session").to_owned();
    let is_over = AtomicBool::new(false);
    let (guard, config, session, is_over) = (&guard, &config, &session, &is_over);
    let calls = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (1..=2).map(|id| scope.spawn(move || calls_until(guard, config, session, id, is_over))).collect();
        for round in 1..=1000 {
            let (certificate, key) = &pairs[round % 2];
            // Both at once, as a mounted Secret changes: a pair that is half new would be kept out, and looked at again.
            replace(&pair.certificate, certificate);
            replace(&pair.key, key);
            let before = guard.metric(RELOADED);
            guard.signal("HUP");
            patiently("it is reloaded", || guard.metric(RELOADED) > before);
        }
        is_over.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().expect("no call is lost")).sum::<usize>()
    });
    println!("{calls} calls during {} reloads", guard.metric(RELOADED));
    assert!(calls > 1000 && guard.metric(RELOADED) >= 1000.0);
}

fn calls_until(guard: &Guard, config: &Arc<ClientConfig>, session: &str, id: i64, is_over: &AtomicBool) -> usize {
    let mut kept = Wire::secure(guard.listen, config);
    let mut calls = 0;
    while !is_over.load(Ordering::Relaxed) {
        assert_eq!(call(guard, &mut kept, session, id), 200);
        assert_eq!(call(guard, &mut Wire::secure(guard.listen, config), session, id), 200);
        calls += 2;
    }
    calls
}

fn contents(pair: &Pair) -> (Vec<u8>, Vec<u8>) {
    (fs::read(&pair.certificate).expect("a file"), fs::read(&pair.key).expect("a file"))
}

/// Never half there.
fn replace(path: &std::path::Path, bytes: &[u8]) {
    let aside = path.with_extension("new");
    fs::write(&aside, bytes).expect("it is written");
    fs::rename(&aside, path).expect("it is replaced");
}
