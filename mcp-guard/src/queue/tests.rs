//! The service in front of a node that answers when it is told to. Time is paused.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::testing::{MS, call, tool};
use super::{Queue, QueueLayer, QueuePolicy};
use crate::call::{Call, Kind, Method};
use crate::middleware::{Answer, Handler, McpRequest, clock};
use crate::outcome::Outcome;
use crate::refusal::Reason;
use crate::revision::Revision;

const MAX_WAIT: Duration = Duration::from_secs(2);

/// Answers one call for each permit that is added to `go`.
#[derive(Clone)]
struct Node {
    go: Arc<Semaphore>,
    reached: Arc<Semaphore>,
}

impl Handler for Node {
    type Body = Full<Bytes>;

    async fn handle(&self, _request: McpRequest) -> Answer<Full<Bytes>> {
        self.reached.add_permits(1);
        self.go.acquire().await.unwrap().forget();
        let (head, ()) = http::Response::new(()).into_parts();
        Answer::whole(head, Bytes::new(), Outcome::Ok)
    }
}

#[derive(Clone)]
struct Bench {
    node: Node,
    queue: Queue<Node>,
}

impl Bench {
    /// One place and room for two.
    fn new() -> Self {
        let node = Node { go: Arc::new(Semaphore::new(0)), reached: Arc::new(Semaphore::new(0)) };
        let policy = QueuePolicy::fixed(NonZeroU32::MIN).unwrap().with_room(2, MAX_WAIT, MAX_WAIT).unwrap();
        Self { queue: QueueLayer::new(policy, &[]).wrap(node.clone()), node }
    }

    /// Sends `call` and lets it get as far as it can.
    async fn send(&self, call: Call, deadline: Option<Instant>) -> JoinHandle<Answer<Full<Bytes>>> {
        let (head, ()) = http::Request::new(()).into_parts();
        let mut request = McpRequest::new(Arc::new(head), Bytes::new(), Arc::new(call));
        request.deadline = deadline;
        let queue = self.queue.clone();
        let sent = tokio::spawn(async move { queue.handle(request).await });
        settle().await;
        sent
    }

    fn reached(&self) -> usize {
        self.node.reached.available_permits()
    }

    async fn answer_one(&self) {
        self.node.go.add_permits(1);
        settle().await;
    }
}

/// Lets every task run until it waits.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_place_is_sent_when_another_ends() {
    let bench = Bench::new();
    let first = bench.send(call("ping"), None).await;
    let second = bench.send(call("ping"), None).await;
    assert_eq!(bench.reached(), 1);
    bench.answer_one().await;
    assert_eq!((bench.reached(), first.await.unwrap().outcome()), (2, Some(Outcome::Ok)));
    bench.answer_one().await;
    assert_eq!(second.await.unwrap().outcome(), Some(Outcome::Ok));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_ends_in_a_refusal_that_says_when_to_come_back() {
    let bench = Bench::new();
    let _first = bench.send(call("ping"), None).await;
    let began = clock::now();
    let answer = bench.send(call("ping"), None).await.await.unwrap();
    assert_eq!((answer.is_refusal(), clock::now() - began), (Some(Reason::QueueTimeout), MAX_WAIT));
    assert_eq!(answer.head().status, 503);
    assert_eq!(answer.head().headers["retry-after"], "2");
    assert_eq!(bench.reached(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_ends_a_wait_early() {
    let bench = Bench::new();
    let _first = bench.send(call("ping"), None).await;
    let began = clock::now();
    let answer = bench.send(call("ping"), Some(began + 30 * MS)).await.await.unwrap();
    assert_eq!((answer.is_refusal(), clock::now() - began), (Some(Reason::QueueTimeout), 30 * MS));
}

#[tokio::test(start_paused = true)]
async fn a_full_room_refuses_at_once() {
    let bench = Bench::new();
    let (_running, _waits, _waits_too) = (
        bench.send(call("ping"), None).await,
        bench.send(call("ping"), None).await,
        bench.send(call("ping"), None).await,
    );
    let began = clock::now();
    let answer = bench.send(call("ping"), None).await.await.unwrap();
    assert_eq!((answer.is_refusal(), clock::now() - began), (Some(Reason::QueueFull), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_gives_way_to_a_ping_is_refused_at_once() {
    let bench = Bench::new();
    let _running = bench.send(tool("t"), None).await;
    let _older = bench.send(tool("t"), None).await;
    let newest = bench.send(tool("t"), None).await;
    let ping = bench.send(call("ping"), None).await;
    assert_eq!(newest.await.unwrap().is_refusal(), Some(Reason::QueueFull));
    assert!(!ping.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_waiting_frees_its_room() {
    let bench = Bench::new();
    let _running = bench.send(call("ping"), None).await;
    let (leaves, stays) = (bench.send(call("ping"), None).await, bench.send(call("ping"), None).await);
    leaves.abort();
    settle().await;
    let comes = bench.send(call("ping"), None).await;
    assert!(!comes.is_finished());
    bench.answer_one().await;
    bench.answer_one().await;
    assert_eq!(stays.await.unwrap().outcome(), Some(Outcome::Ok));
    assert_eq!(bench.reached(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_with_a_place_it_has_not_heard_of_hands_it_on() {
    let bench = Bench::new();
    let _running = bench.send(call("ping"), None).await;
    let (leaves, stays) = (bench.send(call("ping"), None).await, bench.send(call("ping"), None).await);
    bench.node.go.add_permits(1);
    // One step: the running call ends and grants its place; the waiter is gone before it runs.
    tokio::task::yield_now().await;
    leaves.abort();
    settle().await;
    bench.answer_one().await;
    assert_eq!(stays.await.unwrap().outcome(), Some(Outcome::Ok));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_during_its_call_frees_its_place() {
    let bench = Bench::new();
    let leaves = bench.send(call("ping"), None).await;
    let waits = bench.send(call("ping"), None).await;
    leaves.abort();
    settle().await;
    assert_eq!(bench.reached(), 2);
    bench.answer_one().await;
    assert_eq!(waits.await.unwrap().outcome(), Some(Outcome::Ok));
}

#[tokio::test(start_paused = true)]
async fn only_requests_need_a_place() {
    let bench = Bench::new();
    let _running = bench.send(call("ping"), None).await;
    for kind in [Kind::Notification, Kind::Response, Kind::Listen, Kind::End] {
        let _passes = bench.send(Call::new(kind, Method::NONE, Revision::V2025_11_25), None).await;
    }
    assert_eq!(bench.reached(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_is_let_in_as_an_adaptive_limit_grows() {
    let node = Bench::new().node;
    let policy = QueuePolicy::adaptive(NonZeroU32::MIN, NonZeroU32::new(64).unwrap()).unwrap();
    let bench = Bench { queue: QueueLayer::new(policy, &[]).wrap(node.clone()), node };
    for _ in 0..20 {
        drop(bench.send(tool("slow"), None).await);
    }
    for _ in 0..19 {
        tokio::time::advance(100 * MS).await;
        settle().await;
    }
    assert_eq!(bench.reached(), 20);
}
