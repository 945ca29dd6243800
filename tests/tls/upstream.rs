//! Nodes that are called over TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use mcp_guard_tests::certificates::{Authority, Pair};
use mcp_guard_tests::peers::Peer;
use mcp_guard_tests::{Guard, Session, call_tool, patiently, request, send};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{NODE, PROGRAM, localhost};

/// A node over `transport`, and TLS in front of it: the SDK's server has none of its own.
async fn node(transport: &str, authority: &Authority, pair: &Pair, asks: bool) -> (Peer, SocketAddr) {
    let node = Peer::conformance_node_over(NODE, transport);
    let acceptor = TlsAcceptor::from(Arc::new(authority.server(pair, asks)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, behind) = (listener.local_addr().expect("its address"), node.address());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut secure = acceptor.accept(stream).await?;
                let mut plain = TcpStream::connect(behind).await?;
                copy_bidirectional(&mut secure, &mut plain).await
            });
        }
    });
    (node, address)
}

/// A guard in front of the node at `url`; `tls` is that section.
fn guard(url: &str, tls: &str) -> Guard {
    Guard::with_config(PROGRAM, &format!("upstreams: [{{url: '{url}', tls: {{{tls}}}}}]"))
}

fn ca(authority: &Authority) -> String {
    format!("ca: {}", authority.ca().display())
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_held_with_a_node_over_tls() {
    let authority = Authority::default();
    let pair = localhost(&authority);
    for (transport, scheme, path) in
        [("--listen", "https", "/mcp"), ("--sse", "sse+https", "/sse"), ("--web-socket", "wss", "/mcp")]
    {
        let (_node, address) = node(transport, &authority, &pair, false).await;
        let url = format!("{scheme}://localhost:{}{path}", address.port());
        let guard = tokio::task::block_in_place(|| guard(&url, &ca(&authority)));
        let reply = tokio::task::block_in_place(|| {
            let session = Session::open(&guard);
            session.post(call_tool(1, "add", json!({"a": 2, "b": 3})).to_string())
        });
        assert_eq!(reply.json()["result"]["content"][0]["text"], "5", "{scheme}: {}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_shown_a_certificate_if_it_asks() {
    let authority = Authority::default();
    let (_node, address) = node("--listen", &authority, &localhost(&authority), true).await;
    let client = authority.issue("guard", &["guard"]);
    let tls =
        format!("{}, certificate: {}, key: {}", ca(&authority), client.certificate.display(), client.key.display());
    tokio::task::block_in_place(|| {
        let guard = guard(&format!("https://localhost:{}/mcp", address.port()), &tls);
        Session::open(&guard);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_may_have_another_name_than_its_url() {
    let authority = Authority::default();
    let pair = authority.issue("node", &["node.internal"]);
    let (_node, address) = node("--listen", &authority, &pair, false).await;
    let tls = format!("{}, server_name: node.internal", ca(&authority));
    tokio::task::block_in_place(|| {
        let guard = guard(&format!("https://{address}/mcp"), &tls);
        Session::open(&guard);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_be_verified_is_not_called() {
    let authority = Authority::default();
    let (_node, address) = node("--listen", &authority, &localhost(&authority), false).await;
    let by_address = format!("https://{address}/mcp");
    let by_name = format!("https://localhost:{}/mcp", address.port());
    let stranger = Authority::default();
    // Another name than its certificate has; an authority that is not the guard's.
    for (url, tls) in [(&by_address, ca(&authority)), (&by_name, ca(&stranger))] {
        let why = tokio::task::block_in_place(|| refused(url, &tls));
        assert!(why.contains("invalid peer certificate"), "{why}");
    }
}

/// What a client and a probe are told of a node that is not called.
fn refused(url: &str, tls: &str) -> String {
    let guard = Guard::unready(PROGRAM, &format!("upstreams: [{{url: '{url}', tls: {{{tls}}}}}]"));
    let reply = send(guard.listen, &[], request(0, "ping", json!({})).to_string());
    assert_eq!((reply.status, reply.reason().as_deref()), (503, Some("upstream_unavailable")));
    let mut told = String::new();
    patiently("the probe tells why", || {
        told = guard.get("/readyz").map(|reply| reply.text()).unwrap_or_default();
        told.contains("certificate")
    });
    told
}
