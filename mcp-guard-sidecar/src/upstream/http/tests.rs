//! The upstream against a node on a real socket, which does as the words in a request's body say.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::middleware::{McpRequest, Upstream, UpstreamError, clock};
use mcp_guard::refusal::Reason;
use mcp_guard::revision::Revision;
use mcp_guard::session::Profile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::*;
use crate::upstream::dial::Dialer;

const PATIENCE: Duration = Duration::from_secs(20);

/// A node: it keeps what it got, and `hold` waits for `gate`.
struct Node {
    address: String,
    shared: Arc<Shared>,
}

struct Shared {
    requests: Mutex<Vec<String>>,
    gate: Semaphore,
    arrived: Semaphore,
}

impl Node {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (gate, arrived) = (Semaphore::new(0), Semaphore::new(0));
        let shared = Arc::new(Shared { requests: Mutex::default(), gate, arrived });
        let node = Self { address, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        node
    }

    fn upstream(&self, change: impl FnOnce(&mut HttpOptions)) -> HttpUpstream {
        let mut options = HttpOptions {
            dialer: Dialer::new(&*self.address, None),
            path: "/node".into(),
            connections_max: 2,
            connect_timeout: PATIENCE,
            first_byte_timeout: PATIENCE,
            idle_timeout: PATIENCE,
            profile: Profile::Standard,
        };
        change(&mut options);
        HttpUpstream::new(options).unwrap()
    }

    /// Waits for so many requests.
    async fn arrived(&self, requests: u32) {
        timeout(PATIENCE, self.shared.arrived.acquire_many(requests)).await.unwrap().unwrap().forget();
    }

    fn last_request(&self) -> String {
        self.shared.requests.lock().unwrap().last().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> Option<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap();
        if head.contains("x-do: answer-early") {
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
            stream.write_all(answer.as_bytes()).await.ok()?;
            return std::future::pending().await;
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        stream.read_exact(&mut body).await.ok()?;
        shared.requests.lock().unwrap().push(format!("{head}{}", String::from_utf8_lossy(&body)));
        shared.arrived.add_permits(1);
        let answer = if head.starts_with("GET") && !head.contains("x-do: refuse") {
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        } else if head.contains("x-do: refuse") {
            "HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n"
        } else {
            if body == b"hold" {
                shared.gate.acquire().await.unwrap().forget();
            }
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

type Reply = Result<Response<PooledBody>, UpstreamError>;

fn call(kind: Kind, method: &str) -> Call {
    Call::new(kind, Method::new(method), Revision::V2025_11_25)
}

async fn send(upstream: &HttpUpstream, call: Call, headers: &[(&str, &str)], body: &str) -> Reply {
    deliver(upstream, request(call, headers, body)).await
}

async fn deliver(upstream: &HttpUpstream, request: McpRequest) -> Reply {
    timeout(PATIENCE, upstream.send(request)).await.unwrap()
}

fn request(call: Call, headers: &[(&str, &str)], body: &str) -> McpRequest {
    let method = if call.kind == Kind::Listen { "GET" } else { "POST" };
    let mut request = Request::builder().method(method).uri("/mcp");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    McpRequest::new(Arc::new(head), Bytes::copy_from_slice(body.as_bytes()), Arc::new(call))
}

/// Sends a call and reads its answer.
async fn ask(upstream: &HttpUpstream, body: &str) -> Result<Bytes, UpstreamError> {
    let response = send(upstream, call(Kind::Request, "ping"), &[], body).await?;
    Ok(response.into_body().collect().await.unwrap().to_bytes())
}

async fn listen(upstream: &HttpUpstream) -> Reply {
    send(upstream, call(Kind::Listen, ""), &[], "").await
}

#[track_caller]
fn assert_full<T: std::fmt::Debug>(reply: Result<T, UpstreamError>) {
    let Err(UpstreamError::Refused(refusal)) = reply else { panic!("not refused: {reply:?}") };
    assert_eq!(refusal.reason(), Reason::UpstreamUnavailable);
    assert_eq!(refusal.retry_after_seconds(), Some(1));
}

/// Two calls at once, so that two connections are idle after.
async fn fill(node: &Node, upstream: &HttpUpstream) {
    let calls = [0, 1].map(|_| {
        let upstream = upstream.clone();
        tokio::spawn(async move { ask(&upstream, "hold").await })
    });
    node.arrived(2).await;
    node.shared.gate.add_permits(2);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(upstream.idle(), 2);
}

#[tokio::test]
async fn idle_connections_of_one_core_make_room_for_calls_of_another() {
    let node = Node::start().await;
    let one = node.upstream(|_| ());
    let other = one.another_pool();
    fill(&node, &one).await;
    assert_eq!(ask(&other, "").await.unwrap(), "{}");
    assert_eq!((one.idle(), other.idle()), (1, 1));
}

#[tokio::test]
async fn a_call_is_refused_if_all_connections_stay_busy_and_not_after() {
    let node = Node::start().await;
    let upstream = node.upstream(|options| {
        options.connections_max = 1;
        options.connect_timeout = Duration::from_millis(20);
    });
    let busy = tokio::spawn({
        let upstream = upstream.clone();
        async move { ask(&upstream, "hold").await }
    });
    node.arrived(1).await;
    assert_full(ask(&upstream.another_pool(), "").await);
    node.shared.gate.add_permits(1);
    busy.await.unwrap().unwrap();
    ask(&upstream.another_pool(), "").await.unwrap();
}

#[tokio::test]
async fn those_who_find_all_connections_busy_wait_for_one_and_all_get_it() {
    let node = Node::start().await;
    let upstream = node.upstream(|options| options.connections_max = 2);
    let both = [upstream.clone(), upstream.another_pool()];
    let calls: Vec<_> = both
        .iter()
        .cycle()
        .take(40)
        .cloned()
        .map(|upstream| async move { ask(&upstream, "hold").await })
        .map(tokio::spawn)
        .collect();
    node.arrived(2).await;
    node.shared.gate.add_permits(40);
    for call in calls {
        assert_eq!(timeout(PATIENCE, call).await.unwrap().unwrap().unwrap(), "{}");
    }
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_the_connection_to_the_next() {
    let node = Node::start().await;
    let upstream = node.upstream(|options| options.connections_max = 1);
    let ask_for = |body: &'static str| {
        let upstream = upstream.clone();
        tokio::spawn(async move { ask(&upstream, body).await })
    };
    let busy = ask_for("hold");
    node.arrived(1).await;
    let end = send(&upstream, call(Kind::End, ""), &[], "");
    assert!(timeout(Duration::from_millis(20), end).await.is_err());
    let next = ask_for("");
    node.shared.gate.add_permits(1);
    busy.await.unwrap().unwrap();
    timeout(PATIENCE, next).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn connections_that_were_idle_for_too_long_leave_when_another_comes_back() {
    let node = Node::start().await;
    let upstream = node.upstream(|options| options.idle_timeout = Duration::ZERO);
    ask(&upstream, "").await.unwrap();
    ask(&upstream.clone(), "").await.unwrap();
    assert_eq!(upstream.idle(), 1);
}

#[tokio::test]
async fn a_connection_whose_request_was_not_read_to_its_end_is_not_kept() {
    let node = Node::start().await;
    let upstream = node.upstream(|_| ());
    let large = "x".repeat(16 << 20);
    let early = send(&upstream, call(Kind::Request, "ping"), &[("x-do", "answer-early")], &large).await.unwrap();
    early.into_body().collect().await.unwrap();
    assert_eq!(upstream.idle(), 0);
    assert_eq!(ask(&upstream, "").await.unwrap(), "{}");
}

#[tokio::test]
async fn streams_that_listen_leave_calls_their_connections() {
    let node = Node::start().await;
    let upstream = node.upstream(|options| options.connections_max = 1);
    let stream = listen(&upstream).await.unwrap();
    ask(&upstream, "").await.unwrap();
    assert_full(listen(&upstream).await);
    let subscribe = || send(&upstream, call(Kind::Request, Method::SUBSCRIPTIONS_LISTEN), &[], "");
    assert_full(subscribe().await);
    drop(stream);
    subscribe().await.unwrap();
}

#[tokio::test]
async fn a_refused_stream_leaves_its_connection_to_calls() {
    let node = Node::start().await;
    let upstream = node.upstream(|options| options.connections_max = 1);
    let refused = send(&upstream, call(Kind::Listen, ""), &[("x-do", "refuse")], "").await.unwrap();
    assert_eq!(refused.status(), 405);
    drop(refused);
    assert_eq!(upstream.idle(), 1);
    let _stream = listen(&upstream).await.unwrap();
    ask(&upstream, "").await.unwrap();
    assert!(node.last_request().starts_with("POST /node HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_deadline_takes_the_place_of_the_time_to_the_first_byte() {
    let node = Node::start().await;
    let upstream = node.upstream(|options| options.first_byte_timeout = Duration::from_millis(20));
    let mut patient = request(call(Kind::Request, "ping"), &[], "hold");
    patient.deadline = Some(clock::now() + PATIENCE);
    let patient = tokio::spawn({
        let upstream = upstream.clone();
        async move { deliver(&upstream, patient).await }
    });
    node.arrived(1).await;
    let impatient = ask(&upstream, "hold").await;
    assert!(matches!(impatient, Err(UpstreamError::TimedOut(_))), "{impatient:?}");
    node.shared.gate.add_permits(2);
    assert_eq!(patient.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn what_was_not_sent_comes_back_with_all_that_it_carried() {
    let node = Node::start().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let upstream = node.upstream(|options| options.dialer = Dialer::new(closed, None));
    let mut sent = request(call(Kind::Request, Method::TOOLS_CALL), &[("x-own", "1")], "body");
    Arc::get_mut(&mut sent.head).unwrap().extensions.insert("carried");
    let reply = deliver(&upstream, sent).await;
    let Err(UpstreamError::Unsent { request, .. }) = reply else { panic!("not unsent: {reply:?}") };
    assert_eq!(request.head.extensions.get::<&str>(), Some(&"carried"));
    assert_eq!((request.head.headers["x-own"].as_bytes(), &*request.body), (&b"1"[..], &b"body"[..]));
    assert!(request.call.method.is(Method::TOOLS_CALL));
}

/// A call that was left by its client while the node worked on it.
async fn left(node: &Node, upstream: &HttpUpstream, revision: Revision) {
    let call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), revision);
    let mut exchange = Box::pin(upstream.send(request(call, &[], "hold")));
    tokio::select! {
        _ = &mut exchange => panic!("it was answered"),
        () = node.arrived(1) => {}
    }
    drop(exchange);
    node.shared.gate.add_permits(1);
}

#[tokio::test]
async fn a_call_of_a_revision_with_sessions_goes_on_when_its_client_leaves() {
    let node = Node::start().await;
    let upstream = node.upstream(|_| ());
    left(&node, &upstream, Revision::V2025_11_25).await;
    let is_kept = async {
        while upstream.idle() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, is_kept).await.expect("the answer was read, and the connection kept");
}

#[tokio::test]
async fn from_2026_07_28_on_a_client_that_leaves_takes_the_connection_with_it() {
    let node = Node::start().await;
    let upstream = node.upstream(|options| options.connections_max = 1);
    left(&node, &upstream, Revision::V2026_07_28).await;
    // Its place is free at once, for a new connection.
    ask(&upstream, "").await.unwrap();
    assert_eq!(upstream.idle(), 1);
}

#[tokio::test]
async fn the_node_gets_what_was_judged_and_nothing_of_the_clients_connection() {
    let node = Node::start().await;
    let upstream = node.upstream(|_| ());
    let headers = [
        ("connection", "keep-alive, mcp-session-id"),
        ("connection", "hop, authorization"),
        ("hop", "1"),
        ("mcp-session-id", "s"),
        ("authorization", "a"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ];
    send(&upstream, call(Kind::Request, "ping"), &headers, "").await.unwrap();
    let seen = node.last_request();
    for kept in ["\r\nmcp-session-id: s\r\n", "\r\nauthorization: a\r\n", "\r\ncookie: a=1; b=2\r\n"] {
        assert!(seen.contains(kept), "{seen}");
    }
    assert!(!seen.contains("\r\nhop:") && !seen.contains("\r\nconnection:"), "{seen}");
}

fn reason<T: std::fmt::Debug>(reply: Result<T, UpstreamError>) -> Reason {
    let Err(UpstreamError::Refused(refusal)) = reply else { panic!("not refused: {reply:?}") };
    refusal.reason()
}

#[tokio::test]
async fn an_erlmcp_node_gets_its_params_and_nothing_that_kills_it() {
    let node = Node::start().await;
    let upstream = node.upstream(|options| options.profile = Profile::Erlmcp);
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let length = list.len().to_string();
    let headers = [("content-length", length.as_str())];
    send(&upstream, call(Kind::Request, Method::TOOLS_LIST), &headers, list).await.unwrap();
    let seen = node.last_request();
    assert!(seen.ends_with(r#"{"params":{},"jsonrpc":"2.0","id":1,"method":"tools/list"}"#), "{seen}");

    let deadly = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#;
    let reply = send(&upstream, call(Kind::Request, Method::TOOLS_CALL), &[], deadly).await;
    assert_eq!(reason(reply), Reason::InvalidParams);
    let unasked = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert_eq!(reason(send(&upstream, call(Kind::Response, ""), &[], unasked).await), Reason::InvalidRequest);
    assert_eq!(node.shared.requests.lock().unwrap().len(), 1);
    listen(&upstream).await.unwrap();
}

#[tokio::test]
async fn a_standard_node_gets_messages_byte_for_byte() {
    let node = Node::start().await;
    let response = r#"{ "jsonrpc":"2.0","id":1,"result":{} }"#;
    send(&node.upstream(|_| ()), call(Kind::Response, ""), &[], response).await.unwrap();
    assert!(node.last_request().ends_with(response));
}
