//! Where clients come in: Unix sockets, and load balancers that say whom they speak for.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use mcp_guard_tests::peers::{Peer, skip_unless};
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, call_tool, free_address, post, raw, send};
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_guard-under-test");
const ONCE_EACH: &str = "guard: {rate_limits: [{name: once, key: [client], rate: 1/h, burst: 1}]}";

/// A guard that has `listener` beside its own.
fn guard(upstream: &Upstream, listener: &str, more: &str) -> Guard {
    let yaml = format!("listeners: [{{}}, {listener}]\nupstreams: [{{url: '{}'}}]\n{more}\n", upstream.url());
    Guard::with_config(PROGRAM, &yaml)
}

/// What is answered to a tool call over `stream`, which the guard closes behind it.
fn call(mut stream: impl Read + Write, beginning: &[u8]) -> String {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 1));
    let call = post(anywhere, &[("connection", "close")], call_tool(1, "echo", json!({"text": "hello"})).to_string());
    stream.write_all(&[beginning, &call].concat()).expect("it is sent");
    let mut answer = String::new();
    // Who is cut off while he speaks reads nothing.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_unix_socket_serves_owner_and_group_and_one_that_is_left_over_is_replaced() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("guard.sock");
    // What a guard leaves that was killed.
    drop(UnixListener::bind(&path).expect("a socket"));
    let guard = guard(&upstream, &format!("{{address: 'unix:{}'}}", path.display()), "");
    let answer = call(UnixStream::connect(&path).expect("a connection"), b"");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("hello"), "{answer}");
    let mode = std::fs::metadata(&path).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert!(!starts(&path), "somebody listens there");
    drop(guard);
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "kept").expect("a file");
    assert!(!starts(&plain), "a file is not thrown away");
    assert_eq!(std::fs::read_to_string(&plain).expect("it is there"), "kept");
}

/// Whether a guard would start at `path`.
fn starts(path: &Path) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("guard.yaml");
    let yaml = format!("listeners: [{{address: 'unix:{}'}}]\nadmin: {{address: '127.0.0.1:0'}}\n", path.display());
    std::fs::write(&config, yaml + "upstreams: [{url: 'http://127.0.0.1:1/mcp'}]\n").expect("the config is written");
    let output = Command::new(PROGRAM).arg("run").arg("-c").arg(&config).output().expect("it ends");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on unix:"), "{output:?}");
    output.status.success()
}

/// A header of version 2 for `source`.
fn proxied(source: [u8; 4]) -> Vec<u8> {
    let addresses = [&source[..], &[10, 0, 0, 1, 0, 80, 1, 187]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat()
}

#[test]
fn a_client_is_who_the_balancer_says() {
    let (upstream, address) = (Upstream::start(), free_address());
    let listener = format!("{{address: '{address}', proxy_protocol: true}}");
    let guard = guard(&upstream, &listener, ONCE_EACH);
    let call = |beginning: &[u8]| call(std::net::TcpStream::connect(address).expect("a connection"), beginning);
    assert!(call(&proxied([192, 0, 2, 7])).starts_with("HTTP/1.1 200"));
    assert!(call(&proxied([192, 0, 2, 7])).starts_with("HTTP/1.1 429"));
    assert!(call(&proxied([192, 0, 2, 8])).starts_with("HTTP/1.1 200"));
    // Who says nothing of whom he speaks for is not heard, and a guess would be the balancer's.
    assert_eq!(call(b""), "");
    assert_eq!(guard.metric("mcp_guard_refusals_total{reason=\"invalid_header\"}"), 1.0);
    // Where no balancer is meant, what looks like one is not believed.
    let other = raw(guard.listen, &proxied([192, 0, 2, 9])).expect("an answer");
    assert_eq!(other.status, 400);
}

#[test]
fn a_balancers_clients_have_their_own_caps() {
    let (upstream, address) = (Upstream::start(), free_address());
    let listener = format!("{{address: '{address}', proxy_protocol: true}}");
    let _guard = guard(&upstream, &listener, "guard: {limits: {connections_per_client: 1}}");
    let open = |source| {
        let mut stream = std::net::TcpStream::connect(address).expect("a connection");
        let call = post(address, &[], call_tool(1, "echo", json!({})).to_string());
        stream.write_all(&[proxied(source), call].concat()).expect("it is sent");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("an answer");
        (stream, String::from_utf8_lossy(&status).into_owned())
    };
    let held = open([192, 0, 2, 7]);
    assert_eq!(held.1, "HTTP/1.1 200");
    assert_eq!(open([192, 0, 2, 7]).1, "HTTP/1.1 429");
    assert_eq!(open([192, 0, 2, 8]).1, "HTTP/1.1 200");
}

#[test]
fn haproxy_says_whom_it_speaks_for() {
    if !skip_unless(Command::new("haproxy").arg("-v").output().is_ok(), "haproxy is installed") {
        return;
    }
    let (upstream, address) = (Upstream::start(), free_address());
    let guard = guard(&upstream, &format!("{{address: '{address}', proxy_protocol: true}}"), ONCE_EACH);
    let front = free_address();
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("haproxy.cfg");
    let text = format!(
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         listen mcp\n  bind {front}\n  server guard {address} send-proxy-v2\n"
    );
    std::fs::write(&config, text).expect("the config is written");
    let _balancer = Peer::start(Command::new("haproxy").arg("-db").arg("-f").arg(&config), front);
    let echo = call_tool(1, "echo", json!({})).to_string();
    // The connection by which the balancer was looked for asked for nothing.
    assert_eq!(send(front, &[], &echo).status, 200);
    assert_eq!(send(front, &[], &echo).status, 429, "the client is this process, at 127.0.0.1");
    let own: IpAddr = [127, 0, 0, 1].into();
    assert_eq!(guard.listen.ip(), own);
    assert_eq!(send(guard.listen, &[], &echo).status, 429, "and so it is here");
}
