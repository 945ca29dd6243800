//! What all hosts do with a call: read it whole, parse it once, send it on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header};
use http_body::Body;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use mcp_guard::message::{self, Reading};
use tower::{Service, ServiceExt};

/// Whether `body` is a message that the guard would read further.
pub(crate) fn is_message(body: &[u8]) -> bool {
    message::read(body, Reading { revision: None, depth_max: 64, batch_max: 64 }).is_ok()
}

type Reply<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Reads and parses what comes, before `next` gets it.
#[derive(Clone)]
pub(crate) struct Parsing<S> {
    next: S,
}

impl<S> Parsing<S> {
    pub(crate) fn new(next: S) -> Self {
        Self { next }
    }
}

impl<S, B> Service<Request<Incoming>> for Parsing<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<Either<Full<Bytes>, B>>;
    type Error = Infallible;
    type Future = Reply<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let next = self.next.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let Ok(body) = body.collect().await else { return Ok(failed(StatusCode::BAD_REQUEST)) };
            let body = body.to_bytes();
            if !is_message(&body) {
                return Ok(failed(StatusCode::BAD_REQUEST));
            }
            match next.oneshot(Request::from_parts(head, Full::new(body))).await {
                Ok(response) => Ok(response.map(Either::Right)),
                Err(_) => Ok(failed(StatusCode::BAD_GATEWAY)),
            }
        })
    }
}

fn failed<B>(status: StatusCode) -> Response<Either<Full<Bytes>, B>> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = status;
    response
}

/// The node through hyper-util's client, with one pool for all threads.
#[derive(Clone)]
pub(crate) struct Pooled {
    client: Client<HttpConnector, Full<Bytes>>,
    node: Uri,
    host: HeaderValue,
}

impl Pooled {
    pub(crate) fn new(node: SocketAddr) -> Result<Self, http::Error> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1024).build(connector);
        let host = HeaderValue::try_from(node.to_string())?;
        Ok(Self { client, node: format!("http://{node}/mcp").try_into()?, host })
    }
}

impl Service<Request<Full<Bytes>>> for Pooled {
    type Response = Response<Incoming>;
    type Error = hyper_util::client::legacy::Error;
    type Future = Reply<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Full<Bytes>>) -> Self::Future {
        *request.uri_mut() = self.node.clone();
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().insert(header::HOST, self.host.clone());
        Box::pin(self.client.request(request))
    }
}
