//! A node that is nothing but its sockets, so that a test can say byte by byte what it does wrong.
//!
//! It stands in for a real one, since no real one sends half a head and then resets the connection when asked to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mcp_guard_tests::Wire;
use rustix::net::sockopt;
use serde_json::{Value, json};

/// What it does with a call of the tool `fault`: it has the connection and the message, and gives the connection back if
/// it is to be used again.
type Fault = dyn Fn(Wire, &Value) -> Option<Wire> + Send + Sync;

/// A node that listens as long as the test runs.
#[derive(Debug)]
pub(crate) struct RawNode(pub(crate) SocketAddr);

impl RawNode {
    /// Starts one that answers everything but calls of the tool `fault`.
    pub(crate) fn start(fault: impl Fn(Wire, &Value) -> Option<Wire> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let fault: Arc<Fault> = Arc::new(fault);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let fault = Arc::clone(&fault);
                thread::spawn(move || serve(stream, &*fault));
            }
        });
        Self(address)
    }

    /// The URL of its MCP endpoint.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.0)
    }
}

fn serve(stream: TcpStream, fault: &Fault) {
    let mut wire = Wire::new(stream);
    while !wire.is_closed() {
        let message = wire.message().json();
        if message["params"]["name"] == "fault" {
            match fault(wire, &message) {
                Some(again) => wire = again,
                None => return,
            }
        } else {
            wire.write(answer(&message, json!({"content": []})));
        }
    }
}

/// A whole answer to `message`.
pub(crate) fn answer(message: &Value, result: Value) -> Vec<u8> {
    let body = json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
    [head(&format!("content-length: {}", body.len())).into_bytes(), body.into_bytes()].concat()
}

/// The head of an answer in JSON, with one more header.
pub(crate) fn head(framing: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{framing}\r\n\r\n")
}

/// The head of an answer that is a stream, and its first event.
pub(crate) fn event_stream(message: &Value) -> String {
    let progress = json!({"progressToken": message["id"], "progress": 1});
    let event = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress});
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    format!("{head}{}", chunk(&format!("data: {event}\n\n")))
}

/// A chunk of a body.
pub(crate) fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// Ends a connection as a crash or a firewall does: with a reset.
pub(crate) fn reset(wire: Wire) {
    sockopt::set_socket_linger(wire.stream(), Some(Duration::ZERO)).expect("an open socket");
    drop(wire);
}

/// Sends `bytes` one by one, each after a while, until all are sent or the other side has gone; says which.
#[must_use]
pub(crate) fn trickle(wire: &mut Wire, bytes: &[u8], pause: Duration) -> bool {
    let mut stream = wire.stream();
    // To wait for what does not come is to wait for the pause, or for the end.
    stream.set_read_timeout(Some(pause)).expect("an open socket");
    bytes.iter().all(|byte| stream.write_all(&[*byte]).is_ok() && !matches!(stream.read(&mut [0]), Ok(0)))
}
