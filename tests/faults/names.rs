//! Names of nodes that cannot be looked up, or mean another address than before. The guard asks a name server of the test's
//! own, on a loopback address, in a view of the file system in which `/etc/resolv.conf` names that one.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex};

use mcp_guard_tests::peers::skip_unless_allowed;
use mcp_guard_tests::upstream::Upstream;
use mcp_guard_tests::{Guard, Reply, Wire, call_tool, free_address, patiently, post};
use serde_json::json;

use crate::resources::secluded;
use crate::{assert_refused, assert_settled, call, config};

const NAME: &str = "node.test";

/// What the name server says to a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    Address(Ipv4Addr),
    /// There is no such name.
    Unknown,
    /// It cannot say.
    Failure,
    /// Nothing, ever.
    Silence,
}

/// A name server (RFC 1035) that knows one name.
struct NameServer {
    address: Ipv4Addr,
    answer: Arc<Mutex<Answer>>,
}

impl NameServer {
    /// One on an address of this process's own; `None`, with a word, where that port may not be had.
    fn start(answer: Answer) -> Option<Self> {
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 53, high, low);
        let socket = UdpSocket::bind((address, 53)).ok();
        if !skip_unless_allowed(socket.is_some(), "a process may listen on port 53 of loopback") {
            return None;
        }
        let (socket, answer) = (socket?, Arc::new(Mutex::new(answer)));
        let server = Self { address, answer: Arc::clone(&answer) };
        std::thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question) {
                let said = *answer.lock().expect("not poisoned");
                if let Some(reply) = reply(&question[..length], said) {
                    socket.send_to(&reply, from).expect("it is sent");
                }
            }
        });
        Some(server)
    }

    fn say(&self, answer: Answer) {
        *self.answer.lock().expect("not poisoned") = answer;
    }
}

/// The reply to a question: its head, the question again, and an address where one was asked for.
fn reply(question: &[u8], answer: Answer) -> Option<Vec<u8>> {
    let end = 12 + question[12..].iter().position(|length| *length == 0)? + 5;
    // Type A; of AAAA there is none, which is no error.
    let address = match answer {
        Answer::Address(address) if question[end - 3] == 1 => Some(address),
        Answer::Silence => return None,
        _ => None,
    };
    let code = match answer {
        Answer::Unknown => 3,
        Answer::Failure => 2,
        Answer::Address(_) | Answer::Silence => 0,
    };
    let mut reply = question[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
    reply.extend(&question[12..end]);
    if let Some(address) = address {
        // The name of the question, type A, class IN, no time to live, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}

/// A guard that looks names up at `server`, in front of nodes at these URLs; `None`, with a word, where that cannot be.
fn guard(server: &NameServer, folder: &Path, urls: &[String]) -> Option<Guard> {
    let file = folder.join("resolv.conf");
    let text = format!("nameserver {}\noptions timeout:30 attempts:1\n", server.address);
    std::fs::write(&file, text).expect("it is written");
    let program = secluded(folder, &format!("mount --bind {} /etc/resolv.conf", file.display()), "")?;
    let health = json!({"interval": "200ms", "timeout": "200ms", "unhealthy_after": 1, "healthy_after": 1});
    let upstream = json!({"urls": urls, "timeouts": {"connect": "300ms"}, "health": health});
    Some(Guard::unready(&program, &config(upstream, &json!({}))))
}

fn url(port: u16) -> String {
    format!("http://{NAME}:{port}/mcp")
}

fn is_unwell(guard: &Guard) -> bool {
    guard.get("/readyz").is_some_and(|ready| ready.status == 503)
}

fn echo(guard: &Guard) -> Reply {
    call(guard, 7, "echo")
}

/// A name that gets this answer at first, and then an address.
fn is_an_error_until_it_has_an_address(answer: Answer) {
    let node = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let Some(server) = NameServer::start(answer) else { return };
    let Some(guard) = guard(&server, folder.path(), &[url(node.address.port())]) else { return };
    patiently("the node is known not to be well", || is_unwell(&guard));
    assert_refused(&echo(&guard), "upstream_unavailable", 503);
    assert_settled(&guard, "unreachable", 1.0);
    server.say(Answer::Address(Ipv4Addr::LOCALHOST));
    patiently("the node is well", || !is_unwell(&guard));
    assert_eq!(echo(&guard).status, 200);
    assert_settled(&guard, "ok", 1.0);
}

#[test]
fn a_name_that_is_not_there_is_an_error_until_it_is() {
    is_an_error_until_it_has_an_address(Answer::Unknown);
}

#[test]
fn a_name_server_that_fails_is_an_error_until_it_knows() {
    is_an_error_until_it_has_an_address(Answer::Failure);
}

#[test]
fn a_node_whose_name_server_says_nothing_keeps_no_call_from_the_other_node() {
    let node = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let Some(server) = NameServer::start(Answer::Silence) else { return };
    let urls = [url(node.address.port()), node.url()];
    let Some(guard) = guard(&server, folder.path(), &urls) else { return };
    patiently("the other node is well", || !is_unwell(&guard));
    for reply in echoes(&guard) {
        assert_eq!((reply.status, &reply.json()["id"]), (200, &json!(7)), "{}", reply.text());
    }
    assert_settled(&guard, "ok", CALLS as f64);
}

/// Each question keeps a thread as long as the system waits for the answer, which is longer than the guard does.
#[test]
fn a_name_server_that_says_nothing_costs_no_more_time_than_a_connection_may() {
    let node = Upstream::start();
    let folder = tempfile::tempdir().expect("a folder");
    let Some(server) = NameServer::start(Answer::Silence) else { return };
    let Some(mut guard) = guard(&server, folder.path(), &[url(node.address.port())]) else { return };
    echoes(&guard).iter().for_each(assert_unreachable);
    assert_eq!(guard.get("/livez").map(|alive| alive.status), Some(200));
    server.say(Answer::Address(Ipv4Addr::LOCALHOST));
    patiently("it is called", || echo(&guard).status == 200);
    server.say(Answer::Silence);
    drop(node);
    assert_unreachable(&echo(&guard));
    guard.signal("TERM");
    assert_eq!(guard.wait(), Some(0), "it ends, whoever still looks something up");
}

/// Many fail, so that soon none is tried.
fn assert_unreachable(reply: &Reply) {
    let reason = reply.reason().unwrap_or_default();
    assert!(["upstream_unavailable", "breaker_open"].contains(&reason.as_str()), "{}", reply.text());
    assert_refused(reply, &reason, 503);
}

const CALLS: usize = 64;

/// Many calls at once.
fn echoes(guard: &Guard) -> Vec<Reply> {
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..CALLS).map(|_| scope.spawn(|| echo(guard))).collect();
        calls.into_iter().map(|call| call.join().expect("an answer")).collect()
    })
}

#[test]
fn a_name_that_means_another_address_is_asked_for_with_each_new_connection() {
    let (one, other) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let port = free_address().port();
    let [old, new] = [one, other].map(|address| Upstream::scripted_at((address, port).into(), |_| None));
    let folder = tempfile::tempdir().expect("a folder");
    let Some(server) = NameServer::start(Answer::Address(one)) else { return };
    let Some(guard) = guard(&server, folder.path(), &[url(port)]) else { return };
    patiently("the node is well", || !is_unwell(&guard));
    let mut held = Wire::connect(guard.listen);
    held.write(post(guard.listen, &[], call_tool(8, "hold", json!({})).to_string()));
    patiently("a call is with the old address", || old.calls() == 1);
    server.say(Answer::Address(other));
    // The call that is held has its connection, so that others need new ones.
    patiently("a call goes to the new address", || echo(&guard).status == 200 && new.calls() > 0);
    old.release(1);
    assert_eq!(held.message().status, 200, "and the old one is answered");
    drop(old);
    for _ in 0..20 {
        assert_eq!(echo(&guard).status, 200, "connections that were kept to the old address are no loss");
    }
}
