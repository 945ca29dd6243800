//! Clients that keep to the protocol, and look at every answer.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use mcp_guard::middleware::clock;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use crate::network::proxy_header;
use crate::world::{ARGUMENT, ECHO, READ, SLOW, Weather, World};

/// Where the guard listens.
pub(crate) const GUARD: &str = "guard";

/// After how long a call hangs: more than all that the guard may wait for, one after the other.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// A client with a session.
pub(crate) struct Client {
    pub(crate) world: World,
    pub(crate) rng: Rng,
    address: IpAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
    session: Option<String>,
    next_id: u64,
    /// How the world was when its last request began.
    weather: Weather,
}

/// What has become of a request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A result, or an error of JSON-RPC's, and the status that it came with.
    Message(StatusCode, Value),
    /// No message.
    Bare(StatusCode),
    /// The connection was gone before the end of an answer.
    Lost,
}

impl Client {
    pub(crate) fn new(world: &World, number: u8) -> Self {
        let address = Ipv4Addr::new(10, 0, 0, number).into();
        let (world, rng) = (world.clone(), world.chance());
        Self { world, rng, address, connection: None, session: None, next_id: 0, weather: Weather::Fair }
    }

    /// Calls until `end`, with what it likes between.
    pub(crate) async fn calls_until(&mut self, end: Instant) {
        while clock::now() < end {
            // Breakers take long to close; little is to be seen meanwhile.
            let pause_max = if self.world.weather() == Weather::Clearing { 3_000 } else { 500 };
            sleep(Duration::from_millis(self.rng.u64(1..pause_max))).await;
            match self.rng.u8(..20) {
                0 => self.leaves().await,
                1 => self.connection = None,
                2 => self.gives_up().await,
                _ => {
                    let tool = [ECHO, ECHO, READ, SLOW][self.rng.usize(..4)];
                    let _ = self.calls(tool).await;
                }
            }
        }
    }

    /// Opens a session, if there is none; whether there is one then.
    pub(crate) async fn is_in_session(&mut self) -> bool {
        if self.session.is_some() {
            return true;
        }
        let params =
            json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}});
        let answer = self.asks("initialize", params).await;
        if let Answer::Message(_, message) = &answer
            && message.get("result").is_some()
        {
            self.world.must(self.session.is_some(), || "a session without an id".into());
            let told = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            let answer = self.posts(&told).await;
            if !matches!(answer, Answer::Bare(StatusCode::ACCEPTED)) {
                self.fails("initialized", &answer, None);
            }
            return self.session.is_some();
        }
        self.fails("initialize", &answer, None);
        false
    }

    /// Calls a tool; whether that has got its result.
    pub(crate) async fn calls(&mut self, tool: &str) -> bool {
        if !self.is_in_session().await {
            return false;
        }
        let argument = format!("{ARGUMENT}{:016x}", self.rng.u64(..));
        let params = json!({"name": tool, "arguments": {"text": argument}});
        let answer = self.asks("tools/call", params).await;
        if let Answer::Message(_, message) = &answer
            && let Some(text) = message.pointer("/result/content/0/text")
            && message.pointer("/result/isError").is_none()
        {
            self.world.must(*text == json!(argument), || format!("{argument} was answered with {message}"));
            self.world.must(self.world.heard(&argument) > 0, || format!("no node has heard {argument}"));
            self.world.serves();
            return true;
        }
        self.fails(tool, &answer, Some(&argument));
        false
    }

    /// Calls a tool, and hangs up before there is an answer.
    async fn gives_up(&mut self) {
        if self.is_in_session().await {
            let patience = Duration::from_millis(self.rng.u64(..100));
            let _ = timeout(patience, self.calls(SLOW)).await;
            self.world.tell(format!("{} hangs up", self.address));
            self.connection = None;
        }
    }

    /// Ends its session.
    pub(crate) async fn leaves(&mut self) {
        if self.session.is_some() {
            let answer = self.sends(Method::DELETE, Bytes::new()).await;
            self.world.tell(format!("{} leaves: {answer:?}", self.address));
            self.session = None;
        }
    }

    /// An answer that is no result.
    fn fails(&mut self, what: &str, answer: &Answer, argument: Option<&str>) {
        let (world, address) = (&self.world, self.address);
        let reason = match answer {
            Answer::Message(_, message) => message.pointer("/error/data/guard").and_then(Value::as_str),
            Answer::Bare(_) | Answer::Lost => None,
        };
        world.tell(format!("{address} has no result of {what}: {answer:?}"));
        if matches!(answer, Answer::Message(StatusCode::NOT_FOUND, _) | Answer::Bare(StatusCode::NOT_FOUND)) {
            self.session = None;
        }
        // What is refused of a notification has no body.
        let has_no_place = |status: &StatusCode| matches!(status.as_u16(), 429 | 503);
        let is_load = match answer {
            Answer::Bare(status) => what == "initialized" && has_no_place(status),
            Answer::Message(..) | Answer::Lost => reason.is_some_and(|reason| LOAD.contains(&reason)),
        };
        // Only what has begun in foul weather, or meets it, may fail.
        let is_fair = self.weather == Weather::Fair && matches!(world.weather(), Weather::Fair | Weather::Leaving);
        world.must(is_load || !is_fair, || format!("{what} of {address} fails in fair weather: {answer:?}"));
        let Some(argument) = argument else { return };
        let is_heard = world.heard(argument) > 0;
        let is_unsent = reason.is_some_and(|reason| UNSENT.contains(&reason));
        // One that may be repeated may have been heard before the refusal.
        let is_unsent = is_unsent && (what != READ || !world.plan.is_trusting || world.plan.attempts == 1);
        world
            .must(!(is_unsent && is_heard), || format!("{argument} was refused ({reason:?}), and a node has heard it"));
        let is_told = format!("{answer:?}").contains(argument);
        world.must(!is_told, || format!("I9: an error repeats the argument: {answer:?}"));
    }

    /// Sends a request, and gives the message that answers it.
    async fn asks(&mut self, method: &str, params: Value) -> Answer {
        self.next_id += 1;
        let id = self.next_id;
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let is_call = method == "tools/call";
        if is_call {
            self.world.begins();
        }
        let answer = self.posts(&message).await;
        if let Answer::Message(status, answer) = &answer {
            let reason = answer.pointer("/error/data/guard").and_then(Value::as_str);
            if is_call && !reason.is_some_and(|reason| AT_THE_DOOR.contains(&reason)) {
                self.world.is_answered();
            }
            let is_answer = answer["id"] == json!(id);
            // What was refused before it was read has no id to give.
            let is_early = reason.is_none_or(|reason| AT_THE_DOOR.contains(&reason));
            let is_refused = is_early && !status.is_success() && answer["id"].is_null();
            self.world.must(is_answer || is_refused, || format!("{method} {id} was answered with {answer}"));
        }
        answer
    }

    async fn posts(&mut self, message: &Value) -> Answer {
        self.sends(Method::POST, message.to_string().into()).await
    }

    async fn sends(&mut self, method: Method, body: Bytes) -> Answer {
        self.weather = self.world.weather();
        match timeout(HANGS_AFTER, self.exchanges(method, body)).await {
            Ok(answer) => {
                if matches!(answer, Answer::Lost) {
                    self.connection = None;
                }
                answer
            }
            Err(_) => {
                self.world.breaks(format!("a request of {} hangs", self.address));
                Answer::Lost
            }
        }
    }

    async fn exchanges(&mut self, method: Method, body: Bytes) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri("/mcp")
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-06-18");
        if let Some(session) = &self.session {
            request = request.header(SESSION, session);
        }
        let request = request.body(Full::new(body)).expect("a request");
        let Some(connection) = self.connected().await else { return Answer::Lost };
        let Ok(response) = connection.send_request(request).await else { return Answer::Lost };
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await else { return Answer::Lost };
        let body = body.to_bytes();
        if let Some(id) = head.headers.get(SESSION).and_then(|id| id.to_str().ok()) {
            self.session = Some(id.to_owned());
        }
        if head.status == StatusCode::SERVICE_UNAVAILABLE || head.status == StatusCode::TOO_MANY_REQUESTS {
            let wait = head.headers.get(header::RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse::<u64>().ok());
            let reason = String::from_utf8_lossy(&body);
            self.world.must(wait.is_some_and(|wait| wait > 0) || !reason.contains("\"guard\""), || {
                format!("{} without Retry-After: {reason}", head.status)
            });
        }
        let is_stream = head.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        match if is_stream { last_event(&body) } else { serde_json::from_slice(&body).ok() } {
            Some(message) => Answer::Message(head.status, message),
            None => Answer::Bare(head.status),
        }
    }

    /// Its connection, or a new one.
    async fn connected(&mut self) -> Option<&mut SendRequest<Full<Bytes>>> {
        let is_usable = match &mut self.connection {
            Some(connection) => connection.ready().await.is_ok(),
            None => false,
        };
        if !is_usable {
            let mut stream = self.world.net.connect(GUARD).await.ok()?;
            stream.write_all(&proxy_header(self.address)).await.ok()?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
            // Its end is seen by who sends over it.
            tokio::spawn(async move {
                let _ = connection.await;
            });
            self.connection = Some(sender);
        }
        self.connection.as_mut()
    }
}

const SESSION: &str = "mcp-session-id";

/// Reasons of refusals that come of how much is asked, also in fair weather.
const LOAD: [&str; 5] = ["rate_limited", "queue_full", "queue_timeout", "too_many_connections", "too_many_sessions"];

/// Reasons of refusals that come before a message is read.
const AT_THE_DOOR: [&str; 4] = ["rate_limited", "too_many_connections", "draining", "memory_pressure"];

/// Reasons of refusals by which nothing has reached a node.
const UNSENT: [&str; 10] = [
    "rate_limited",
    "queue_full",
    "queue_timeout",
    "too_many_connections",
    "too_many_sessions",
    "breaker_open",
    "draining",
    "invalid_arguments",
    "invalid_params",
    "memory_pressure",
];

/// The answer in a stream of events: what else there is are words in between.
fn last_event(body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let messages = data.filter_map(|data| serde_json::from_str::<Value>(data.trim_start()).ok());
    let answers: Vec<_> =
        messages.filter(|message| message.get("id").is_some() && message.get("method").is_none()).collect();
    answers.into_iter().next_back()
}
