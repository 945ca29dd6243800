//! A server that speaks Streamable HTTP, with sessions.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::Value;
use tokio::io::DuplexStream;
use tokio::time::sleep;

use crate::node::{Lie, Node, log_message, with_wrong_id};

type Body = BoxBody<Bytes, io::Error>;

const SESSION: &str = "mcp-session-id";

/// Serves one connection to its end.
pub(crate) async fn serve(node: Node, stream: DuplexStream) {
    let serve = service_fn(move |request| {
        let node = node.clone();
        async move { Ok::<_, Infallible>(answer(node, request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), serve);
    // How it ends is the other side's to notice.
    let _ = connection.await;
}

async fn answer(node: Node, request: Request<Incoming>) -> Response<Body> {
    let session = request.headers().get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
    let is_known = session.as_deref().is_some_and(|id| node.knows(id));
    match *request.method() {
        Method::POST => {}
        Method::DELETE => {
            let was_there = session.is_some_and(|id| node.closes(&id));
            return bare(if was_there { StatusCode::OK } else { StatusCode::NOT_FOUND });
        }
        _ => return bare(StatusCode::METHOD_NOT_ALLOWED),
    }
    let Ok(body) = request.into_body().collect().await else { return bare(StatusCode::BAD_REQUEST) };
    let body = body.to_bytes();
    let message: Value = match serde_json::from_slice(&body) {
        Ok(message) => message,
        Err(error) => {
            node.world.breaks(format!("a node was sent {body:?}: {error}"));
            return bare(StatusCode::BAD_REQUEST);
        }
    };
    let is_opening = message["method"] == "initialize";
    if !is_known && !is_opening && session.is_some() {
        return bare(StatusCode::NOT_FOUND);
    }
    if message.get("method").is_none() || message.get("id").is_none() {
        return bare(StatusCode::ACCEPTED);
    }
    let rng = &mut node.chance();
    let lie = node.lie(rng, &message);
    if let Some(lie) = lie {
        node.world.tell(format!("{} lies: {lie:?}", node.name));
    }
    let answer = node.answer(rng, &message).await;
    let mut response = match lie {
        None => honest(rng, answer),
        Some(Lie::Silent) => std::future::pending().await,
        Some(Lie::Late) => {
            sleep(Duration::from_secs(rng.u64(2..10))).await;
            honest(rng, answer)
        }
        Some(Lie::WrongId) => honest(rng, with_wrong_id(answer)),
        Some(Lie::Twice) => events(vec![answer.clone(), answer], false),
        Some(Lie::Garbage) => json(Bytes::from_static(b"{\"jsonrpc\": \xff\xfe")),
        Some(Lie::Cut) => events(vec![log_message(rng)], true),
        Some(Lie::Fails) => bare([StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE][rng.usize(..2)]),
    };
    if is_opening && response.status() == StatusCode::OK {
        let id = node.opens(rng);
        response.headers_mut().insert(SESSION, id.parse().expect("an id is a header"));
    }
    response
}

fn honest(rng: &mut fastrand::Rng, answer: Value) -> Response<Body> {
    match rng.u8(..4) {
        0 => events(vec![answer], false),
        1 => events(vec![log_message(rng), answer], false),
        _ => json(answer.to_string().into()),
    }
}

fn json(body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).map_err(|never| match never {}).boxed());
    response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().expect("a value"));
    response
}

/// A stream of these, a moment apart; one that `breaks` ends in the middle of an event.
fn events(messages: Vec<Value>, breaks: bool) -> Response<Body> {
    let mut parts: Vec<io::Result<Frame<Bytes>>> =
        messages.iter().map(|message| Ok(Frame::data(format!("data: {message}\n\n").into()))).collect();
    if breaks {
        parts.push(Ok(Frame::data(Bytes::from_static(b"data: {\"jsonrpc\""))));
        parts.push(Err(io::ErrorKind::ConnectionReset.into()));
    }
    let parts = stream::unfold(parts.into_iter(), |mut parts| async move {
        let part = parts.next()?;
        sleep(Duration::from_millis(3)).await;
        Some((part, parts))
    });
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(parts)));
    response.headers_mut().insert(header::CONTENT_TYPE, "text/event-stream".parse().expect("a value"));
    response
}

fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Full::default().map_err(|never| match never {}).boxed());
    *response.status_mut() = status;
    response
}
