//! A fast MCP server: what a call costs here is hardly more than its HTTP.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use futures_util::stream::{self, Pending, StreamExt};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::{Fault, echo};

/// A node that runs on a thread of its own until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    address: SocketAddr,
}

impl Node {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub fn start() -> Result<Self, Fault> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same, where it is expected.
    ///
    /// # Errors
    ///
    /// If it cannot listen at `address`.
    pub fn start_at(address: SocketAddr) -> Result<Self, Fault> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            socket.bind(address)?;
            socket.listen(BACKLOG)?
        };
        let address = listener.local_addr()?;
        std::thread::spawn(move || runtime.block_on(serve(listener)));
        Ok(Self { address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Connections that wait to be accepted: as many as several guards may open at once.
const BACKLOG: u32 = 4096;

async fn serve(listener: TcpListener) -> Result<(), Fault> {
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(connection(stream));
    }
}

async fn connection(stream: TcpStream) {
    // Without it delayed ACKs make any proxy look faster than none.
    if stream.set_nodelay(true).is_ok() {
        let connection = hyper::server::conn::http1::Builder::new();
        // How a client ends its connection is no news here.
        let _ = connection.serve_connection(TokioIo::new(stream), service_fn(respond)).await;
    }
}

/// A frame that is there, and then no other for as long as anybody listens.
type Silence = StreamBody<stream::Chain<stream::Once<Ready>, Pending<<Ready as Future>::Output>>>;
type Ready = std::future::Ready<Result<Frame<Bytes>, Infallible>>;

async fn respond(request: Request<Incoming>) -> Result<Response<Either<Full<Bytes>, Silence>>, Infallible> {
    if request.method() == Method::GET {
        return Ok(stream().map(Either::Right));
    }
    if request.method() == Method::DELETE {
        return Ok(empty(StatusCode::OK).map(Either::Left));
    }
    let answer = match request.into_body().collect().await {
        Ok(body) => answer(&body.to_bytes()),
        Err(_) => None,
    };
    Ok(answer.unwrap_or_else(|| empty(StatusCode::BAD_REQUEST)).map(Either::Left))
}

/// A stream to listen on: the event that primes it, and nothing more.
fn stream() -> Response<Silence> {
    let event = Ok(Frame::data(Bytes::from_static(b"id: 0\ndata: \n\n")));
    let body = StreamBody::new(stream::once(std::future::ready(event)).chain(stream::pending()));
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<Arguments<'a>>,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

/// The answer to `body`; `None` if it cannot be read.
fn answer(body: &[u8]) -> Option<Response<Full<Bytes>>> {
    let message: Message<'_> = serde_json::from_slice(body).ok()?;
    let Some(id) = message.id else { return Some(empty(StatusCode::ACCEPTED)) };
    let id = id.get();
    let params = message.params;
    match &*message.method {
        "initialize" => {
            let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}"#;
            let mut response = json(result_of(id, result));
            response.headers_mut().insert(SESSION, HeaderValue::from_static("0f4c8a2e-5d1b-4f7e-9a63-1c2b7d9e4a10"));
            Some(response)
        }
        "tools/list" => {
            let tool = format!(r#"{{"tools":[{{"name":"{}","inputSchema":{}}}]}}"#, echo::TOOL, echo::INPUT_SCHEMA);
            Some(json(result_of(id, &tool)))
        }
        "tools/call" => {
            let params = params?;
            (params.name? == echo::TOOL).then_some(())?;
            Some(json(echo::answer(id, &params.arguments?.text)))
        }
        _ => Some(json(result_of(id, "{}"))),
    }
}

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

fn result_of(id: &str, result: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)
}

fn json(body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
