//! Request ids: taken from the caller, or made.

use super::*;

#[tokio::test]
async fn a_callers_request_id_goes_to_the_node_and_back() {
    let (seen, answer) = Bench::traced().send(legacy(&[("x-request-id", "abc-1")])).await;
    assert_eq!((header(&seen, "x-request-id"), answer[X_REQUEST_ID].to_str().unwrap()), (Some("abc-1"), "abc-1"));
}

#[tokio::test]
async fn a_request_id_is_made_where_the_callers_is_missing_twofold_or_no_id() {
    let long = "x".repeat(129);
    for headers in [
        vec![],
        vec![("x-request-id", "a b")],
        vec![("x-request-id", "")],
        vec![("x-request-id", long.as_str())],
        vec![("x-request-id", "a"), ("x-request-id", "b")],
    ] {
        let (seen, answer) = Bench::traced().send(legacy(&headers)).await;
        let id = header(&seen, "x-request-id").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{headers:?}");
        assert_eq!(answer[X_REQUEST_ID], id);
    }
}

#[tokio::test]
async fn a_policy_may_leave_request_ids_alone() {
    let policy: TracePolicy = serde_json::from_str(r#"{"request_id": false}"#).unwrap();
    let (seen, answer) = Bench::new(policy, Sampler::AlwaysOn).send(legacy(&[])).await;
    assert_eq!((header(&seen, "x-request-id"), answer.get(X_REQUEST_ID)), (None, None));
}
