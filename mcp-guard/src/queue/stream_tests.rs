//! Places of calls whose answers are streams, with the real inner end of the stack.

use std::convert::Infallible;
use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::sync::mpsc;

use super::testing::{call, tool};
use super::{QueueLayer, QueuePolicy};
use crate::call::{Call, Method};
use crate::middleware::{Answer, Handler, McpRequest, Node};
use crate::refusal::Reason;

const ANSWER: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[]}}\n\n";

/// A queue with one place and no room, in front of a node that answers with what is sent to it here.
fn streaming() -> (mpsc::Sender<&'static str>, impl Handler<Body = impl Body<Data = Bytes, Error = Infallible>>) {
    let (events, received) = mpsc::channel::<&'static str>(8);
    let received = Arc::new(std::sync::Mutex::new(Some(received)));
    let node = tower::service_fn(move |_: Request<Full<Bytes>>| {
        let mut received = received.lock().unwrap().take();
        async move {
            let events = futures_util::stream::poll_fn(move |cx| match &mut received {
                Some(received) => received.poll_recv(cx),
                None => std::task::Poll::Ready(None),
            });
            let frames =
                futures_util::StreamExt::map(events, |event| Ok::<_, Infallible>(Frame::data(Bytes::from(event))));
            let response = Response::builder().header("content-type", "text/event-stream");
            Ok::<_, Infallible>(response.body(StreamBody::new(frames)).unwrap())
        }
    });
    let policy = QueuePolicy::fixed(NonZeroU32::MIN).unwrap();
    let wait = policy.max_wait();
    (events, QueueLayer::new(policy.with_room(0, wait, wait).unwrap(), &[]).wrap(Node::new(node)))
}

async fn send<H: Handler>(queue: &H, call: Call) -> Answer<H::Body> {
    let (head, ()) = Request::new(()).into_parts();
    queue.handle(McpRequest::new(Arc::new(head), Bytes::new(), Arc::new(call))).await
}

/// Whether there is a place now.
async fn is_free<H: Handler>(queue: &H) -> bool {
    send(queue, call("ping")).await.is_refusal() != Some(Reason::QueueFull)
}

#[tokio::test]
async fn a_streamed_answer_holds_its_place_until_the_answer_has_passed() {
    let (events, queue) = streaming();
    let answer = send(&queue, tool("t")).await;
    assert!(!is_free(&queue).await);
    let mut body = answer.into_body();
    events.send(ANSWER).await.unwrap();
    body.frame().await.unwrap().unwrap();
    assert!(is_free(&queue).await);
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_frees_its_place() {
    let (_events, queue) = streaming();
    let answer = send(&queue, tool("t")).await;
    assert!(!is_free(&queue).await);
    drop(answer);
    assert!(is_free(&queue).await);
}

#[tokio::test]
async fn a_subscription_gives_its_place_back_once_its_stream_has_begun() {
    let (_events, queue) = streaming();
    let _answer = send(&queue, call(Method::SUBSCRIPTIONS_LISTEN)).await;
    assert!(is_free(&queue).await);
}
