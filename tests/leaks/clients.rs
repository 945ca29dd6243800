//! Clients over each transport that the guard speaks to clients.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mcp_guard_tests::{Wire, free_address, request, send_to};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::in_both;
use crate::links::TOOL;
use crate::planted::Planted;
use crate::scene::Scene;

const NODE: &str = env!("CARGO_BIN_EXE_conformance-node");

#[test]
fn no_transport_of_the_clients_gives_them_away() {
    in_both(|log| {
        let (planted, lines) = (Planted::new(), free_address());
        let config = json!({
            "listeners": [{"sse_path": "/sse", "web_socket_path": "/ws"}, {"address": lines.to_string(), "transport": "lines"}],
            "upstreams": [{"command": [NODE, "--stdio"]}], "guard": {"rate_limits": []},
        });
        let mut scene = Scene::start(log, config);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let messages = messages(&planted);
        let listen = scene.guard.listen;
        let answers = [
            runtime.block_on(web_socket(listen, &planted, &messages)),
            events(listen, &planted, &messages),
            lines_of(lines, &messages),
            vec![runtime.block_on(over_http_2(listen, &planted))],
        ];
        for answer in answers.concat() {
            scene.tell("an answer", answer);
        }
        scene.end(&planted.all());
    });
}

/// Begins a session; a call that is answered, one that is refused, and what is no message.
fn messages(planted: &Planted) -> Vec<(String, bool)> {
    let secret = planted.value.text();
    let client = json!({"name": secret, "version": "0"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
    vec![
        (request(0, "initialize", params).to_string(), true),
        (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#.into(), false),
        (planted.call(1, TOOL).to_string(), true),
        (planted.call(2, "add").to_string(), true),
        (format!("{{\"{secret}\": {secret}"), true),
    ]
}

async fn web_socket(address: SocketAddr, planted: &Planted, messages: &[(String, bool)]) -> Vec<String> {
    let target = format!("ws://{address}/ws?token={}", planted.query.text());
    let mut request = target.into_client_request().expect("a request");
    for (name, value) in planted.headers() {
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("a socket");
    let mut answers = Vec::new();
    for (message, is_answered) in messages {
        socket.send(Message::text(message.as_str())).await.expect("it is sent");
        if *is_answered {
            let answer = socket.next().await.expect("an answer").expect("a frame");
            answers.push(answer.into_text().expect("text").to_string());
        }
    }
    // Not ended in order: the guard sees that it broke off.
    answers
}

fn events(address: SocketAddr, planted: &Planted, messages: &[(String, bool)]) -> Vec<String> {
    let mut wire = Wire::connect(address);
    let fields: String = planted.headers().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let query = planted.query.text();
    wire.write(format!(
        "GET /sse?token={query} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{fields}\r\n"
    ));
    assert_eq!(wire.head().status, 200);
    let mut next = || String::from_utf8(wire.chunk().expect("an event")).expect("text");
    let first = next();
    let endpoint = first.lines().find_map(|line| line.strip_prefix("data: ")).expect("an address").to_owned();
    let mut answers = Vec::new();
    for (message, is_answered) in messages {
        let reply = send_to(address, "POST", &endpoint, &[("content-type", "application/json")], message);
        match (reply.status, *is_answered) {
            (202, true) => answers.push(next()),
            (202, false) => {}
            _ => answers.push(reply.text()),
        }
    }
    answers
}

fn lines_of(address: SocketAddr, messages: &[(String, bool)]) -> Vec<String> {
    let mut wire = Wire::connect(address);
    let mut answers = Vec::new();
    for (message, is_answered) in messages {
        wire.write(format!("{message}\n"));
        if *is_answered {
            answers.push(wire.text());
        }
    }
    answers
}

async fn over_http_2(address: SocketAddr, planted: &Planted) -> String {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let mut request = Request::post(format!("http://localhost/mcp?token={}", planted.query.text()))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2025-11-25");
    for (name, value) in planted.headers() {
        request = request.header(name, value);
    }
    let request = request.header("mcp-session-id", planted.session.text());
    let body = Full::new(Bytes::from(planted.call(7, TOOL).to_string()));
    let response = sender.send_request(request.body(body).expect("a request")).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(answer["error"]["data"]["guard"], "session_not_found");
    answer.to_string()
}
