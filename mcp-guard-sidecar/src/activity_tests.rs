use std::task::Waker;

use super::*;

const SILENCE: Silence = Silence { first: Duration::from_secs(10), between: Duration::from_secs(75) };

/// When a connection with this activity would be ended, counted from now.
async fn ends_after(activity: &Activity) -> Duration {
    let start = clock::now();
    activity.silent(SILENCE).await;
    clock::now() - start
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_ends_after_the_first_limit() {
    assert_eq!(ends_after(&Activity::new()).await.as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn between_requests_the_second_limit_counts_from_the_end_of_the_answer() {
    let activity = Activity::new();
    let asked = activity.ask();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(200)).await;
        drop(asked);
    });
    assert_eq!(ends_after(&activity).await.as_secs(), 275);
}

#[tokio::test(start_paused = true)]
async fn one_of_two_requests_is_enough_to_live_on() {
    let activity = Activity::new();
    let (one, two) = (activity.ask(), activity.ask());
    drop(one);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(two);
    });
    assert_eq!(ends_after(&activity).await.as_secs(), 76);
}

#[tokio::test(start_paused = true)]
async fn the_first_request_is_noticed_also_by_who_waits_later() {
    let activity = Activity::new();
    drop(activity.ask());
    activity.has_begun().await;
}

/// A stream of two parts, the second of which is long in coming.
struct Parts(bool);

impl Body for Parts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let is_first = std::mem::take(&mut self.0);
        if is_first { Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"part"))))) } else { Poll::Pending }
    }
}

/// The body of a stream whose first part was handed out.
fn begun(activity: &Activity) -> TrackedBody<Parts> {
    let mut body = TrackedBody { body: Parts(true), handed: None, asked: Some(activity.ask()) };
    assert!(Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())).is_ready());
    body
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_take_a_part_of_its_stream_is_let_go_as_if_it_were_silent() {
    let activity = Activity::new();
    let _body = begun(&activity);
    assert_eq!(ends_after(&activity).await.as_secs(), 75);
    assert!(activity.is_over(SILENCE));
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_node_is_slow_lasts_as_long_as_that_takes() {
    let activity = Activity::new();
    let mut body = begun(&activity);
    assert!(Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())).is_pending());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1000)).await;
        drop(body);
    });
    assert_eq!(ends_after(&activity).await.as_secs(), 1075);
}
