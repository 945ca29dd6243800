//! What only all concerns together show, around a node of the test's own.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Service, ServiceExt, service_fn};

use super::*;

type Upstream = Response<Full<Bytes>>;

fn config(value: Value) -> GuardConfig {
    serde_json::from_value(value).unwrap()
}

/// What the node is asked.
fn asked(request: &Request<Full<Bytes>>) -> Arc<Call> {
    Arc::clone(request.extensions().get::<Arc<Call>>().unwrap())
}

fn result(call: &Call, result: &Value) -> Result<Upstream, Infallible> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, call.id.as_deref().unwrap_or("null"));
    Ok(Response::builder().header("content-type", "application/json").body(Full::from(body)).unwrap())
}

fn post(headers: &[(&str, &str)], body: &Value) -> Request<Full<Bytes>> {
    let mut request = Request::post("/mcp").header("host", "localhost").header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body.to_string())).unwrap()
}

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

async fn send<S, B>(service: &S, request: Request<Full<Bytes>>) -> (u16, Value)
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let response = service.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[tokio::test(start_paused = true)]
async fn a_key_of_ones_own_tells_callers_apart() {
    let rule = json!({"name": "per-key", "key": ["subject"], "rate": "1/m"});
    let layer = GuardLayer::new(config(json!({"rate_limits": [rule]})))
        .key_with(|head, _| Some(head.headers.get("x-api-key")?.to_str().ok()?.into()));
    let guarded = layer.layer(service_fn(async |request| result(&asked(&request), &json!({}))));
    for (key, expected) in [("ada", 200), ("bob", 200), ("ada", 429)] {
        assert_eq!(send(&guarded, post(&[("x-api-key", key)], &ping())).await.0, expected, "{key}");
    }
}
