//! Streams on their way through: what ends them, and what their client is told.

use std::convert::Infallible;
use std::sync::Mutex;
use std::time::Duration;

use futures_util::{Stream as Frames, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};

use super::*;
use crate::call::{Kind, Method};
use crate::middleware::clock;
use crate::revision::Revision;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn call(revision: Revision) -> std::sync::Arc<Call> {
    let mut call = Call::new(Kind::Request, Method::new(Method::TOOLS_CALL), revision);
    call.id = Some("7".into());
    call.target = Some("slow".into());
    std::sync::Arc::new(call)
}

fn frames(texts: &'static [&'static str]) -> impl Frames<Item = Result<Frame<Bytes>, Error>> + Send {
    stream::iter(texts.iter().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
}

/// What comes out of a stream, and how it was settled.
async fn pass<B>(mut stream: Stream<B>) -> (Result<String, BodyError>, Option<Outcome>)
where
    B: Body<Data = Bytes>,
    B::Error: Into<Error>,
{
    let settled = std::sync::Arc::new(Mutex::new(None));
    let note = std::sync::Arc::clone(&settled);
    stream.on_end(Box::new(move |outcome, _| *note.lock().unwrap() = Some(outcome)));
    let body = GuardBody::stream(stream).collect().await;
    let text = body.map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap());
    let outcome = *settled.lock().unwrap();
    (text, outcome)
}

const PROGRESS: &str = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";
const ANSWER: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n\n";

#[tokio::test]
async fn an_answered_stream_passes_byte_for_byte() {
    let stream = Stream::new(StreamBody::new(frames(&[PROGRESS, ANSWER])), call(Revision::V2025_11_25), 1 << 20);
    let (text, outcome) = pass(stream).await;
    assert_eq!((text.unwrap(), outcome), (format!("{PROGRESS}{ANSWER}"), Some(Outcome::Ok)));
}

#[tokio::test]
async fn a_stream_that_ends_without_the_answer_says_so() {
    for revision in Revision::ALL {
        let stream = Stream::new(StreamBody::new(frames(&[PROGRESS])), call(revision), 1 << 20);
        let (text, outcome) = pass(stream).await;
        let text = text.unwrap();
        assert!(text.starts_with(PROGRESS) && text.contains("upstream_failed") && text.contains("\"id\":7"), "{text}");
        assert_eq!(outcome, Some(Outcome::Broken), "{revision}");
    }
}

#[tokio::test]
async fn a_stream_that_can_be_resumed_may_end_before_the_answer_but_not_where_there_is_no_resuming() {
    let primed = &["id: 1\ndata:\n\n"];
    let stream = Stream::new(StreamBody::new(frames(primed)), call(Revision::V2025_11_25), 1 << 20);
    assert_eq!(pass(stream).await.1, Some(Outcome::Ok));
    let stream = Stream::new(StreamBody::new(frames(primed)), call(Revision::V2026_07_28), 1 << 20);
    let (text, outcome) = pass(stream).await;
    assert!(text.unwrap().contains("upstream_failed"));
    assert_eq!(outcome, Some(Outcome::Broken));
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_left_to_be_resumed_but_not_where_there_is_no_resuming() {
    for (revision, is_told) in [(Revision::V2025_11_25, false), (Revision::V2026_07_28, true)] {
        let broken = stream::iter([Err(Error::from("cut"))]);
        let stream = Stream::new(StreamBody::new(frames(&["id: 1\ndata:\n\n"]).chain(broken)), call(revision), 1 << 20);
        let (text, outcome) = pass(stream).await;
        assert_eq!(text.is_ok_and(|text| text.contains("upstream_failed")), is_told, "{revision}");
        assert_eq!(outcome, Some(Outcome::Broken));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_answer_does_not_come_in_time_is_ended() {
    let silent = frames(&[PROGRESS]).chain(stream::pending());
    let deadline = clock::now() + Duration::from_secs(5);
    let stream = Stream::new(StreamBody::new(silent), call(Revision::V2025_11_25), 1 << 20).until(Some(deadline));
    let (text, outcome) = pass(stream).await;
    assert!(text.unwrap().contains("deadline_exceeded"));
    assert_eq!((outcome, clock::now()), (Some(Outcome::TimedOut), deadline));
}

#[tokio::test]
async fn a_compressed_stream_passes_unread() {
    let stream = Stream::new(StreamBody::new(frames(&["\u{1f}zip", "ped"])), call(Revision::V2025_11_25), 2).unread();
    let (text, outcome) = pass(stream).await;
    assert_eq!((text.unwrap().as_str(), outcome), ("\u{1f}zipped", Some(Outcome::Ok)));
}

#[tokio::test]
async fn a_stuck_member_of_a_batch_does_not_hold_the_others_up() {
    let stuck = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>().boxed());
    let stuck = GuardBody::stream(Stream::new(stuck, call(Revision::V2025_03_26), 1 << 20));
    let mut chain = GuardBody::chain(VecDeque::from([stuck, GuardBody::whole(Bytes::from_static(b"done"))]));
    let frame = chain.frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "done");
}
