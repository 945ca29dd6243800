//! Sessions whose node goes and comes back, in virtual time: a fake link stands in for the node.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use mcp_guard::call::{Call, Kind, Method};
use mcp_guard::refusal::Reason;
use mcp_guard::revision::Revision;
use tower::ServiceExt;

use super::super::body::SessionBody;
use super::super::inlet::Inlet;
use super::super::link::Link;
use super::super::options::SessionOptions;
use super::super::service::SessionNode;
use super::*;

/// A node that answers each request with an empty result, while it is up.
#[derive(Clone, Debug, Default)]
struct Fake(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_down: AtomicBool,
    tries: AtomicUsize,
    connections: Mutex<Vec<Arc<Connection>>>,
}

#[async_trait]
impl Link for Fake {
    async fn connect(&self, connection: &Arc<Connection>, mut lines: Receiver<Line>) -> Result<Keeper, UpstreamError> {
        self.0.tries.fetch_add(1, Ordering::Relaxed);
        if self.0.is_down.load(Ordering::Relaxed) {
            return Err(UpstreamError::Unavailable("down".into()));
        }
        self.0.connections.lock().unwrap().push(Arc::clone(connection));
        let (serving, connection) = (Arc::clone(connection), Arc::clone(connection));
        tokio::spawn(async move {
            let mut inlet = Inlet::new(&serving);
            loop {
                let line = tokio::select! {
                    line = lines.recv() => line,
                    () = serving.ended() => return,
                };
                let Some(line) = line else { return };
                if let Some(FromNode::Request { id, .. }) = FromNode::read(&line.text)
                    && id != SILENT
                {
                    inlet.take(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#).into());
                }
            }
        });
        Ok(Box::pin(async move { connection.ended().await }))
    }
}

/// The id of a request that is never answered.
const SILENT: &str = "404";

impl Fake {
    fn node(&self) -> SessionNode {
        SessionNode::new(self.clone(), SessionOptions::default())
    }

    /// Goes, and is down from now on or up again.
    fn go(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::Relaxed);
        let connection = self.0.connections.lock().unwrap().pop().unwrap();
        connection.end();
    }

    fn come_back(&self) {
        self.0.is_down.store(false, Ordering::Relaxed);
    }
}

async fn send(
    node: &SessionNode,
    session: Option<&str>,
    id: &str,
    method: &str,
) -> Result<Response<SessionBody>, UpstreamError> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#);
    let mut call = Call::new(Kind::Request, Method::new(method), Revision::V2025_11_25);
    call.id = Some(id.into());
    call.session = session.map(Into::into);
    let request = Request::post("/mcp").extension(Arc::new(call)).body(Full::from(body)).unwrap();
    node.clone().oneshot(request).await
}

async fn open(node: &SessionNode) -> String {
    let response = send(node, None, "0", "initialize").await.unwrap();
    response.headers()["mcp-session-id"].to_str().unwrap().to_owned()
}

async fn works(node: &SessionNode, session: &str) -> bool {
    let Ok(response) = send(node, Some(session), "1", "ping").await else { return false };
    response.into_body().collect().await.is_ok_and(|body| !body.to_bytes().is_empty())
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_for_its_node() {
    let fake = Fake::default();
    let node = fake.node();
    let session = open(&node).await;
    fake.go(true);
    tokio::time::sleep(Duration::from_secs(50)).await;
    assert_eq!((node.sessions(), node.links()), (1, 1));
    fake.come_back();
    tokio::time::sleep(WAIT_MAX).await;
    assert!(works(&node, &session).await);
}

#[tokio::test(start_paused = true)]
async fn a_session_does_not_wait_for_ever_and_does_not_press_its_node() {
    let fake = Fake::default();
    let node = fake.node();
    let session = open(&node).await;
    fake.go(true);
    tokio::time::sleep(LASTS + WAIT_MAX).await;
    assert_eq!((node.sessions(), node.links()), (0, 0));
    // Never further apart than 5 s, and every 2 s or so on average: with waits of 100 ms it would be 600.
    let tries = fake.0.tries.load(Ordering::Relaxed);
    assert!((12..=120).contains(&tries), "{tries}");
    let Err(UpstreamError::Refused(refusal)) = send(&node, Some(&session), "1", "ping").await else { panic!("served") };
    assert_eq!(refusal.reason(), Reason::SessionNotFound);
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_a_while_for_the_next_node_and_then_was_not_sent() {
    let fake = Fake::default();
    let node = fake.node();
    let session = open(&node).await;
    fake.go(true);
    let start = clock::now();
    let reply = send(&node, Some(&session), "1", "ping").await;
    assert!(matches!(reply, Err(UpstreamError::Unavailable(_))), "{reply:?}");
    assert_eq!(clock::now() - start, PATIENCE);
    let waiting = tokio::spawn({
        let (node, session) = (node.clone(), session.clone());
        async move { works(&node, &session).await }
    });
    tokio::task::yield_now().await;
    fake.come_back();
    assert!(waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_an_answer_is_told_when_it_is_known_what_becomes_of_the_session() {
    let fake = Fake::default();
    let node = fake.node();
    let session = open(&node).await;
    let waiting = || {
        let (node, session) = (node.clone(), session.clone());
        tokio::spawn(async move { send(&node, Some(&session), SILENT, "ping").await.map(|_| ()) })
    };
    let call = waiting();
    assert!(works(&node, &session).await);
    fake.go(false);
    let reply = call.await.unwrap();
    assert!(matches!(reply, Err(UpstreamError::Replaced(_))), "{reply:?}");
    let call = waiting();
    assert!(works(&node, &session).await);
    fake.go(true);
    let start = clock::now();
    let reply = call.await.unwrap();
    assert!(matches!(reply, Err(UpstreamError::Failed(_))), "{reply:?}");
    assert!(clock::now() - start <= PATIENCE + WAIT_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_while_it_has_no_node_leaves_nothing() {
    let fake = Fake::default();
    let node = fake.node();
    open(&node).await;
    fake.go(true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    node.shutdown().await;
    assert_eq!((node.sessions(), node.links()), (0, 0));
}
