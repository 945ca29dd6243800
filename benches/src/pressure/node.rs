//! A node with a fixed capacity that can be made slow, broken or dead, and that notices when sessions are mixed up.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::{Fault, echo};

/// What a node bears.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "made by the binaries")]
pub struct Capacity {
    /// Calls that it works on at once; the others wait inside it, in the order in which they came.
    pub places: u32,
    /// How long it works on one.
    pub service: Duration,
    /// How much slower it gets by those that wait inside it: 1 means that it takes twice as long where as many wait as
    /// there are places. 0 is a node that does not mind.
    pub waste: f64,
}

impl Capacity {
    /// Calls a second that it can answer at best.
    pub fn per_second(&self) -> f64 {
        f64::from(self.places) / self.service.as_secs_f64()
    }
}

/// How a node is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Mood {
    /// As it should be.
    Well,
    /// So many times slower.
    Slow(u32),
    /// Answers all with 500.
    Failing,
    /// Answers all with 503 and `Retry-After: 1`.
    Refusing,
    /// Gone: its connections are cut, nobody listens, and its sessions are lost.
    Dead,
}

/// The node. `tools/call` takes a place and its time; pings, lists and the opening of sessions are free.
#[derive(Debug)]
pub struct BusyNode {
    address: SocketAddr,
    capacity: Capacity,
    life: Option<Life>,
}

/// From a start to the next death.
#[derive(Debug)]
struct Life {
    runtime: Runtime,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    capacity: Capacity,
    mood: Mutex<Mood>,
    places: Semaphore,
    waiting: AtomicU32,
    /// By session: who called in it first. Whoever else does was mixed up on the way.
    owners: Mutex<HashMap<String, Option<String>>>,
}

/// Sessions of one life; further ones are not opened.
const SESSIONS_MAX: usize = 200_000;
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// What comes back instead of the text if the session is another caller's.
const MIXED_UP: &str = "this session is another caller's";

impl BusyNode {
    /// Starts it, well, at a free port.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub fn start(capacity: Capacity) -> Result<Self, Fault> {
        let mut node = Self { address: crate::free_address()?, capacity, life: None };
        node.be(Mood::Well)?;
        Ok(node)
    }

    /// Where it listens, if it is not dead.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes how it is. One that was dead starts again where it was, and knows no session.
    ///
    /// # Errors
    ///
    /// If it cannot listen again.
    pub fn be(&mut self, mood: Mood) -> Result<(), Fault> {
        if mood == Mood::Dead {
            self.die();
            return Ok(());
        }
        let life = match self.life.take() {
            Some(life) => life,
            None => Life::begin(self.address, self.capacity)?,
        };
        *life.state.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
        self.life = Some(life);
        Ok(())
    }

    /// All of it ends at once, as when a process is killed: the kernel closes what it had open.
    fn die(&mut self) {
        if let Some(life) = self.life.take() {
            life.runtime.shutdown_background();
        }
    }
}

impl Drop for BusyNode {
    fn drop(&mut self) {
        self.die();
    }
}

impl Life {
    fn begin(address: SocketAddr, capacity: Capacity) -> Result<Self, Fault> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(BACKLOG)?
        };
        let places = Semaphore::new(usize::try_from(capacity.places)?);
        let (mood, waiting, owners) = (Mutex::new(Mood::Well), AtomicU32::new(0), Mutex::default());
        let state = Arc::new(State { capacity, mood, places, waiting, owners });
        runtime.spawn(serve(listener, Arc::clone(&state)));
        Ok(Self { runtime, state })
    }
}

async fn serve(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(stream, Arc::clone(&state)));
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    if stream.set_nodelay(true).is_ok() {
        let respond = |request| {
            let state = Arc::clone(&state);
            async move { Ok::<_, Infallible>(state.respond(request).await) }
        };
        // How a client ends its connection is no news here.
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service_fn(respond))
            .await;
    }
}

impl State {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        let session = request.headers().get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let method = request.method().clone();
        let Ok(body) = request.into_body().collect().await else { return empty(StatusCode::BAD_REQUEST) };
        if method == Method::DELETE {
            let ended = session.is_some_and(|session| self.owners().remove(&session).is_some());
            return empty(if ended { StatusCode::OK } else { StatusCode::NOT_FOUND });
        }
        if method != Method::POST {
            return empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        match mood {
            Mood::Failing => return empty(StatusCode::INTERNAL_SERVER_ERROR),
            Mood::Refusing => return refusal(),
            Mood::Well | Mood::Slow(_) | Mood::Dead => {}
        }
        let Ok(message) = serde_json::from_slice::<Value>(&body.to_bytes()) else {
            return empty(StatusCode::BAD_REQUEST);
        };
        let Some(id) = message.get("id") else { return empty(StatusCode::ACCEPTED) };
        let method = message.get("method").and_then(Value::as_str).unwrap_or_default();
        if method == "initialize" {
            return self.open(id);
        }
        let Some(session) = session.filter(|session| self.owners().contains_key(session)) else {
            return empty(StatusCode::NOT_FOUND);
        };
        let result = match method {
            "tools/list" => tools(),
            "tools/call" => {
                self.work(mood).await;
                let text = message.pointer("/params/arguments/text").and_then(Value::as_str).unwrap_or_default();
                json!({"content": [{"type": "text", "text": self.echo(&session, text)}], "isError": false})
            }
            _ => json!({}),
        };
        answer(id, &result)
    }

    fn owners(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<String>>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, id: &Value) -> Response<Full<Bytes>> {
        let session = format!("{:032x}", fastrand::u128(..));
        let mut owners = self.owners();
        if owners.len() >= SESSIONS_MAX {
            return refusal();
        }
        let mut response = answer(
            id,
            &json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "busy", "version": "1"}}),
        );
        if let Ok(value) = HeaderValue::from_str(&session) {
            response.headers_mut().insert(SESSION, value);
        }
        owners.insert(session, None);
        response
    }

    /// Takes a place, and its time.
    async fn work(&self, mood: Mood) {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = self.places.acquire().await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let factor = if let Mood::Slow(factor) = mood { factor } else { 1 };
        let wasted = self.capacity.waste * f64::from(waiting) / f64::from(self.capacity.places.max(1));
        sleep(self.capacity.service.mul_f64(f64::from(factor) * (1.0 + wasted))).await;
        drop(place);
    }

    /// `text`, if the session is of the one who wrote it.
    fn echo<'a>(&self, session: &str, text: &'a str) -> &'a str {
        let caller = text.split('/').next().unwrap_or_default();
        // One that ended meanwhile has no owner any more.
        let mut owners = self.owners();
        let is_owner =
            owners.get_mut(session).is_none_or(|owner| owner.get_or_insert_with(|| caller.to_owned()) == caller);
        if is_owner { text } else { MIXED_UP }
    }
}

fn tools() -> Value {
    let schema: Value = serde_json::from_str(echo::INPUT_SCHEMA).unwrap_or_default();
    json!({"tools": [{"name": echo::TOOL, "inputSchema": schema}]})
}

fn answer(id: &Value, result: &Value) -> Response<Full<Bytes>> {
    let body = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refusal() -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
