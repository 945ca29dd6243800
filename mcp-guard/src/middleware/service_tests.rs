//! HTTP in, HTTP out, with a wrapped service of the test's own in place of a node.

use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::middleware::Node;

type Upstream = Response<Full<Bytes>>;

/// A guard around a service that answers each request with `{"method": …}`.
async fn send(request: Request<Full<Bytes>>, limits: Value) -> (StatusCode, Value) {
    let upstream = tower::service_fn(async |request: Request<Full<Bytes>>| {
        let call = Arc::clone(request.extensions().get::<Arc<Call>>().unwrap());
        let Some(id) = call.id.as_deref().filter(|_| call.is_request()) else {
            return Ok::<Upstream, Infallible>(Response::builder().status(202).body(Full::default()).unwrap());
        };
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"method":"{}"}}}}"#, call.method.as_str());
        Ok(Response::builder().header("content-type", "application/json").body(Full::from(body)).unwrap())
    });
    let settings = Settings { limits: serde_json::from_value(limits).unwrap(), ..Settings::default() };
    let service = McpService::with_settings(Node::new(upstream), settings);
    let response = service.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post("/mcp").header("host", "localhost").header("content-type", "application/json");
    request.body(Full::new(body.into())).unwrap()
}

#[tokio::test]
async fn a_request_is_answered_with_what_the_service_says() {
    let (status, body) = send(post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), json!({})).await;
    assert_eq!((status.as_u16(), &body["result"]["method"]), (200, &json!("ping")));
}

#[tokio::test]
async fn a_notification_is_accepted_without_a_body() {
    let (status, body) = send(post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), json!({})).await;
    assert_eq!((status.as_u16(), body), (202, Value::Null));
}

#[tokio::test]
async fn members_of_a_batch_are_answered_one_by_one() {
    let batch =
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","method":"notifications/progress"},{"id":2}]"#;
    let (status, body) = send(post(batch), json!({})).await;
    assert_eq!(status.as_u16(), 200);
    assert_eq!(body[0]["result"]["method"], "ping");
    assert_eq!((&body[1]["id"], &body[1]["error"]["code"]), (&json!(2), &json!(-32600)));
    assert_eq!(body.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_answer_that_is_no_json_does_not_spoil_those_of_the_other_members() {
    let upstream = tower::service_fn(async |request: Request<Full<Bytes>>| {
        let call = Arc::clone(request.extensions().get::<Arc<Call>>().unwrap());
        let id = call.id.as_deref().unwrap_or_default();
        let body = if id == "1" {
            "out of order".to_owned()
        } else {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
        };
        Ok::<Upstream, Infallible>(Response::new(Full::from(body)))
    });
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#;
    let response = McpService::new(Node::new(upstream)).oneshot(post(batch)).await.unwrap();
    let body: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!((&body[0]["id"], &body[0]["error"]["data"]["guard"]), (&json!(1), &json!("upstream_failed")));
    assert_eq!((&body[1]["id"], &body[1]["result"]), (&json!(2), &json!({})));
}

#[tokio::test]
async fn what_does_not_answer_the_request_is_not_passed_on_as_its_answer() {
    let others = [
        r#"{"jsonrpc":"2.0","id":2,"result":{"secret":"of another"}}"#,
        r#"{"jsonrpc":"2.0","id":"1","result":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#,
        r#"[{"jsonrpc":"2.0","id":1,"result":{}}]"#,
        r#"{"jsonrpc":"2.0","id":1,"result":"#,
    ];
    for other in others {
        let upstream = tower::service_fn(move |_: Request<Full<Bytes>>| async move {
            Ok::<Upstream, Infallible>(Response::new(Full::from(other)))
        });
        let request = post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        let response = McpService::new(Node::new(upstream)).oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{other}");
        let body: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!((&body["id"], &body["error"]["data"]["guard"]), (&json!(1), &json!("upstream_failed")), "{other}");
    }
}

#[tokio::test]
async fn a_redirect_is_passed_on_with_its_page() {
    let upstream = tower::service_fn(async |_: Request<Full<Bytes>>| {
        let moved = Response::builder().status(308).header("location", "https://elsewhere/mcp");
        Ok::<Upstream, Infallible>(moved.body(Full::from("<html>moved</html>")).unwrap())
    });
    let request = post(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let response = McpService::new(Node::new(upstream)).oneshot(request).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (308, &"https://elsewhere/mcp".parse().unwrap())
    );
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "<html>moved</html>");
}

/// A guard around a service that answers the message with the id (or method) `served`, and refuses all others with 401.
async fn send_unauthorized(served: &'static str, batch: &'static str) -> (http::response::Parts, Value) {
    let upstream = tower::service_fn(move |request: Request<Full<Bytes>>| async move {
        let call = Arc::clone(request.extensions().get::<Arc<Call>>().unwrap());
        let id = call.id.as_deref().unwrap_or(call.method.as_str());
        let response = if id == served {
            let body = if call.is_request() {
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
            } else {
                String::new()
            };
            Response::new(Full::from(body))
        } else {
            let refused = Response::builder().status(401).header("www-authenticate", "Bearer realm=\"node\"");
            let refused = refused.header("x-request-id", format!("of {id}")).header("retry-after", "soon");
            refused.body(Full::default()).unwrap()
        };
        Ok::<Upstream, Infallible>(response)
    });
    let response = McpService::new(Node::new(upstream)).oneshot(post(batch)).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_batch_that_the_node_refuses_whole_has_the_status_of_its_first_member_and_what_that_says() {
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#;
    let (head, _) = send_unauthorized("nobody", batch).await;
    assert_eq!(head.status.as_u16(), 401);
    assert_eq!(head.headers["www-authenticate"], "Bearer realm=\"node\"");
    assert_eq!(
        (&head.headers["x-request-id"], &head.headers["retry-after"]),
        (&"of 1".parse().unwrap(), &"soon".parse().unwrap())
    );
}

#[tokio::test]
async fn a_batch_of_which_one_member_is_served_has_its_answer() {
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#;
    let (head, body) = send_unauthorized("2", batch).await;
    assert_eq!((head.status.as_u16(), &body[0]["id"]), (200, &json!(2)));
    assert!(!head.headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn notifications_that_the_node_refused_are_not_accepted() {
    let batch = r#"[{"jsonrpc":"2.0","method":"notifications/a"},{"jsonrpc":"2.0","method":"notifications/b"}]"#;
    assert_eq!(send_unauthorized("nobody", batch).await.0.status.as_u16(), 401);
    assert_eq!(send_unauthorized("notifications/b", batch).await.0.status.as_u16(), 202);
}

#[tokio::test]
async fn a_body_one_byte_over_the_limit_is_refused_and_one_at_it_is_not() {
    let message = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let (status, _) = send(post(message), json!({"body": message.len()})).await;
    assert_eq!(status.as_u16(), 200);
    let (status, body) = send(post(format!("{message} ")), json!({"body": message.len()})).await;
    assert_eq!((status.as_u16(), &body["error"]["code"]), (413, &json!(1068)));
    assert_eq!(body["error"]["data"]["guard"], "payload_too_large");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_comes_is_refused_in_time() {
    let service = McpService::new(Node::new(tower::service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<Upstream, Infallible>(Response::default())
    })));
    let silent =
        http_body_util::StreamBody::new(futures_util::stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>());
    let request = Request::post("/mcp").header("host", "a").header("content-type", "application/json").body(silent);
    let response = service.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status().as_u16(), 408);
}
