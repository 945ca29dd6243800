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
