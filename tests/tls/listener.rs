//! What a listener speaks, and with whom.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mcp_guard_tests::certificates::{Authority, secure};
use mcp_guard_tests::peers::Peers;
use mcp_guard_tests::{Wire, patiently, raw};
use rustls::pki_types::ServerName;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio_rustls::TlsConnector;

use crate::{guard, guard_with, initialize, localhost};

const LEFT: &str = "mcp_guard_tls_handshakes_total{outcome=\"left\"}";
const FAILED: &str = "mcp_guard_tls_handshakes_total{outcome=\"failed\"}";

#[test]
fn a_client_is_served_over_tls_1_3() {
    let authority = Authority::default();
    let guard = guard(&localhost(&authority), "");
    let (wire, reply) = initialize(&guard, &Arc::new(authority.client(None)));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(wire.stream().conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(guard.metric("mcp_guard_tls_handshakes_total{outcome=\"completed\"}"), 1.0);
    assert!(guard.metric("mcp_guard_certificate_expiry_timestamp_seconds{certificate=\"listeners[0].tls\"}") > 1e9);
}

#[test]
fn tls_1_2_is_spoken_only_where_the_config_says_so() {
    let authority = Authority::default();
    let pair = localhost(&authority);
    let config = Arc::new(authority.client_of(None, &[&rustls::version::TLS12]));
    let strict = guard(&pair, "");
    let mut stream = secure(strict.listen, &config);
    assert!(stream.flush().and_then(|()| stream.write_all(b"x")).is_err(), "it shook hands");
    patiently("it is counted", || strict.metric(FAILED) == 1.0);
    let lenient = guard(&pair, ", minimum_version: TLSv1.2");
    let (wire, reply) = initialize(&lenient, &config);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(wire.stream().conn.protocol_version(), Some(ProtocolVersion::TLSv1_2));
}

/// Mozilla's configurations: <https://wiki.mozilla.org/Security/Server_Side_TLS>.
#[test]
fn sslyze_finds_nothing_that_mozilla_advises_against() {
    let Some(peers) = Peers::find(&["sslyze"]) else { return };
    let authority = Authority::default();
    let pair = localhost(&authority);
    for (more, configuration) in [("", "modern"), (", minimum_version: TLSv1.2", "intermediate")] {
        let guard = guard(&pair, more);
        let found = peers.sslyze(configuration, &authority.ca(), guard.listen);
        assert!(found.contains("OK - Compliant"), "{configuration}: {found}");
    }
}

#[test]
fn http_1_is_spoken_where_the_client_asks_for_it_or_for_nothing() {
    let authority = Authority::default();
    let guard = guard(&localhost(&authority), "");
    for asked in [&[][..], &[b"http/1.1".to_vec()]] {
        let mut config = authority.client(None);
        config.alpn_protocols = asked.to_vec();
        let (wire, reply) = initialize(&guard, &Arc::new(config));
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(wire.stream().conn.alpn_protocol(), asked.first().map(Vec::as_slice));
    }
}

#[tokio::test]
async fn http_2_is_spoken_where_the_client_asks_for_it_first() {
    let authority = Authority::default();
    let guard = guard(&localhost(&authority), "");
    let mut config = authority.client(None);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = tokio::net::TcpStream::connect(guard.listen).await.expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a connection");
    tokio::spawn(connection);
    let request =
        Request::get(format!("https://localhost:{}/elsewhere", guard.listen.port())).body(Full::<&[u8]>::default());
    let response = sender.send_request(request.expect("a request")).await.expect("an answer");
    assert_eq!(response.status(), 404);
}

#[test]
fn a_client_comes_back_without_a_whole_handshake() {
    let authority = Authority::default();
    let guard = guard(&localhost(&authority), "");
    let config = Arc::new(authority.client(None));
    let (first, _) = initialize(&guard, &config);
    let (second, _) = initialize(&guard, &config);
    assert_eq!(first.stream().conn.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(second.stream().conn.handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn the_end_of_a_connection_is_told_as_tls_tells_it() {
    let authority = Authority::default();
    let guard = guard(&localhost(&authority), "");
    let config = Arc::new(authority.client(None));
    let mut stream = secure(guard.listen, &config);
    stream.write_all(b"GET /elsewhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    // An end without close_notify would be an error.
    stream.read_to_string(&mut answer).expect("an orderly end");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[test]
fn what_is_not_tls_is_not_served() {
    let authority = Authority::default();
    let guard = guard(&localhost(&authority), "");
    assert!(raw(guard.listen, b"GET /mcp HTTP/1.1\r\nhost: localhost\r\n\r\n").is_none());
    patiently("it is counted", || guard.metric(FAILED) == 1.0);
    let (_, reply) = initialize(&guard, &Arc::new(authority.client(None)));
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[test]
fn a_handshake_has_as_long_as_a_first_request() {
    let authority = Authority::default();
    let guard = guard_with(&localhost(&authority), "", "guard: {limits: {header_timeout: 100ms}}");
    // The harness has looked whether it listens.
    patiently("it is counted", || guard.metric(LEFT) == 1.0);
    let mut silent = Wire::new(TcpStream::connect(guard.listen).expect("a connection"));
    assert!(silent.is_closed());
    patiently("it is counted", || guard.metric(LEFT) == 2.0);
}
