//! One concern alone, around a service that no framework made: hyper serves it, tower wraps it, nothing else.
//!
//! ```text
//! cargo run -p mcp-guard-examples --example one_layer -- --listen 127.0.0.1:3000
//! for i in 1 2 3; do curl -i http://127.0.0.1:3000/mcp -H 'content-type: application/json' \
//!   -d '{"jsonrpc":"2.0","id":1,"method":"ping"}'; done
//! ```
//!
//! Two pings a minute are answered, with `RateLimit` saying what is left; the third gets 429 and `Retry-After: 30`.

use std::convert::Infallible;
use std::error::Error;

use axum::body::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use mcp_guard::middleware::Client;
use mcp_guard::rate_limit::{KeyPart, RateLimitLayer, RateLimitPolicy, RateLimits};
use serde_json::{Value, json};
use tower::{ServiceBuilder, service_fn};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let rule = RateLimitPolicy::new("per-client", &[KeyPart::Client], "2/m".parse()?)?;
    let limits = RateLimitLayer::new(&RateLimits::new(vec![rule])?);
    let listener = mcp_guard_examples::listen().await?;
    loop {
        let (stream, peer) = listener.accept().await?;
        // What is made by one layer, or by clones of it, shares its allowances: the limits hold over connections.
        let service = ServiceBuilder::new()
            .map_request(move |mut request: Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(Client(peer.ip()));
                request
            })
            .layer(limits.clone())
            .service(service_fn(answer));
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
        // A client that breaks off is no reason to stop.
        tokio::spawn(async { connection.await.ok() });
    }
}

/// The smallest MCP server there is: it answers everything with an empty result.
async fn answer(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let Ok(body) = request.into_body().collect().await;
    let message: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    let result = json!({"jsonrpc": "2.0", "id": message.get("id"), "result": {}});
    let mut response = Response::new(Full::from(result.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
