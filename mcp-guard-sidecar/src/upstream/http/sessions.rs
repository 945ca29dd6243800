//! Sessions of the guard's own with a node that speaks Streamable HTTP and has sessions of its own.
//!
//! One of the guard's is one of the node's at a time; when that is gone, with its node or without, the guard opens another
//! (`sessions: {failover: reinitialize}`), and the client's goes on.
//!
//! | the node                                   | what happens                                                          |
//! |--------------------------------------------|-----------------------------------------------------------------------|
//! | cannot be reached, or does not know its session (404) | the connection ends; the request that has shown it goes to another |
//! | breaks off                                 | the same if it cannot be reached any more; else the call fails alone  |
//! | answers with another status                | an error, the node's own where it has one                             |
//! | has no stream for what it says (405)       | it is not asked again                                                 |

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use mcp_guard::call::{Kind, Method};
use mcp_guard::middleware::headers::{SESSION, VERSION};
use mcp_guard::middleware::{McpRequest, Upstream, UpstreamError, clock};
use mcp_guard::reply::same_id;
use mcp_guard::retry::delay;
use mcp_guard::revision::Revision;
use mcp_guard::session::{FromNode, cancelled_id};
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};

use super::body::PooledBody;
use super::service::HttpUpstream;
use crate::told::Told;
use crate::upstream::dial::{Dialer, why};
use crate::upstream::eras::answer::{Messages, by};
use crate::upstream::eras::caller::Caller;
use crate::upstream::eras::message::{INTERNAL_ERROR, Message, error, response};
use crate::upstream::eras::object::Object;
use crate::upstream::sessions::{Connection, Inlet, Keeper, Line, Link, Said, Speaker, serve};

/// A way to such a node. Clones are the same.
#[derive(Clone)]
pub(crate) struct HttpSessions(Arc<ArcSwap<Way>>);

struct Way {
    upstream: HttpUpstream,
    dialer: Dialer,
}

impl HttpSessions {
    /// To the node behind `upstream`, to which `dialer` makes connections too: before a session is opened it is seen whether
    /// there is somebody.
    pub(crate) fn new(upstream: HttpUpstream, dialer: Dialer) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Way { upstream, dialer })))
    }

    /// From now on by these, in sessions that are open too.
    pub(crate) fn set(&self, upstream: &HttpUpstream, dialer: &Dialer) {
        if !self.0.load().upstream.is_same_node(upstream) {
            self.0.store(Arc::new(Way { upstream: upstream.another_pool(), dialer: dialer.clone() }));
        }
    }

    async fn dial(&self) -> io::Result<()> {
        let dialer = self.0.load().dialer.clone();
        dialer.dial().await.map(drop)
    }
}

impl fmt::Debug for HttpSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSessions").field("dialer", &self.0.load().dialer).finish_non_exhaustive()
    }
}

#[async_trait]
impl Link for HttpSessions {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Line>) -> Result<Keeper, UpstreamError> {
        let unavailable = |error| UpstreamError::Unavailable(format!("no connection: {}", why(&error)));
        self.dial().await.map_err(unavailable)?;
        let spoken = Spoken::new(self, connection);
        let connection = Arc::clone(connection);
        let serving = tokio::spawn(async move {
            serve(&spoken, &connection, lines).await;
            spoken.end().await;
        });
        Ok(Box::pin(async move { drop(serving.await) }))
    }

    fn wants_heads(&self) -> bool {
        true
    }
}

/// A session of the node's.
struct Spoken {
    link: HttpSessions,
    connection: Arc<Connection>,
    state: Mutex<State>,
    has_begun: Told<bool>,
}

#[derive(Clone)]
struct State {
    id: Option<HeaderValue>,
    revision: Revision,
}

/// How long the node may take for what nobody waits for.
const LEISURE: Duration = Duration::from_secs(5);

/// How long it is seen whether there is somebody.
const DIAL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a stream may be silent that has begun.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// How long a call may go on in all, also if nobody waits for it.
const LASTS_MAX: Duration = Duration::from_secs(3600);

/// From the end of the node's stream to the next one, at least, and at most where there is none for long.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
const LISTEN_AGAIN_MAX: Duration = Duration::from_secs(30);

type Answer = Response<PooledBody>;

impl Spoken {
    fn new(link: &HttpSessions, connection: &Arc<Connection>) -> Self {
        Self {
            link: link.clone(),
            connection: Arc::clone(connection),
            state: Mutex::new(State { id: None, revision: Revision::V2025_11_25 }),
            has_begun: Told::default(),
        }
    }

    fn upstream(&self) -> HttpUpstream {
        self.link.0.load().upstream.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `message` in the session, for `caller`.
    fn request(&self, caller: &Caller, message: Message) -> McpRequest {
        let State { id, revision } = self.state().clone();
        caller.request(message, revision, HeaderMap::from_iter(id.map(|id| (SESSION, id))))
    }

    /// The client, by its last request.
    fn client(&self) -> Option<Caller> {
        self.connection.last_head().map(|head| Caller::by(&head))
    }

    fn pass(&self, message: Bytes) {
        Inlet::new(&self.connection).take(message);
    }

    /// Has a request of the client's, or of the guard's in its name, answered; the answer is passed on.
    async fn exchange(&self, said: &Said) -> Result<(), String> {
        let (caller, until) = self.asked_by(&said.line).ok_or("the guard did not read a request")?;
        let message = Message::of(Kind::Request, &said.method, Some(&said.id), said.line.text.clone());
        let begins = said.method == Method::INITIALIZE;
        // Another call may find out meanwhile that it is not known.
        let was_known = self.has_id();
        let answered =
            if begins { self.open(&caller, message, until).await } else { self.send(&caller, message, until).await };
        let response = match answered {
            Ok(response) => response,
            Err(error) => {
                if matches!(error, UpstreamError::Unavailable(_) | UpstreamError::Unsent { .. }) {
                    self.connection.unheard(&said.line);
                }
                return self.broke(&error).await;
            }
        };
        let status = response.status();
        if status == StatusCode::NOT_FOUND && was_known && !begins {
            // Who does not know the session has not run what came in it.
            self.connection.unheard(&said.line);
            return self.lose();
        }
        let (_, mut messages) = by(until, Messages::of(response)).await.map_err(|error| error.to_string())?;
        let (mut until, lasts) = (until, clock::now() + LASTS_MAX);
        loop {
            let message = match messages.next_by(until).await {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => return self.broke(&error).await,
            };
            let is_answer =
                matches!(FromNode::read(&message), Some(FromNode::Response { id, .. }) if same_id(id, &said.id));
            if begins && is_answer {
                self.begin(&message);
            }
            self.pass(message);
            if is_answer {
                return Ok(());
            }
            until = lasts.min(clock::now() + SILENCE_MAX);
        }
        Err(if status.is_success() {
            "the node ended its answer".into()
        } else {
            format!("the node answered {status}")
        })
    }

    /// For whom a message is sent on, and until when it waits.
    fn asked_by(&self, line: &Line) -> Option<(Caller, Instant)> {
        let came = self.connection.asked_by(line)?;
        Some((Caller::by(&came.head), came.until))
    }

    async fn send(&self, caller: &Caller, message: Message, until: Instant) -> Result<Answer, UpstreamError> {
        by(until, self.upstream().send(self.request(caller, message))).await
    }

    /// Sends `initialize`. That goes on if the client leaves meanwhile, and what it has opened then is ended: it would be the
    /// node's for long.
    async fn open(&self, caller: &Caller, message: Message, until: Instant) -> Result<Answer, UpstreamError> {
        let mut request = self.request(caller, message);
        // Which revision it is, its answer says.
        Arc::make_mut(&mut request.head).headers.remove(VERSION);
        let (upstream, connection, caller) = (self.upstream(), Arc::clone(&self.connection), caller.clone());
        let opening = tokio::spawn(async move {
            let response = upstream.send(request).await?;
            if let Some(id) = response.headers().get(SESSION).filter(|_| connection.is_over()) {
                let headers = HeaderMap::from_iter([(SESSION, id.clone())]);
                let end = caller.at_leisure().request(Message::end(), Revision::V2025_11_25, headers);
                drop(timeout(LEISURE, upstream.send(end)).await);
            }
            Ok(response)
        });
        let broke_off = |_| Err(UpstreamError::Failed("the guard broke off".into()));
        let response = by(until, async { opening.await.unwrap_or_else(broke_off) }).await?;
        self.state().id = response.headers().get(SESSION).cloned();
        Ok(response)
    }

    fn has_id(&self) -> bool {
        self.state().id.is_some()
    }

    fn begin(&self, answer: &[u8]) {
        let version = Object::of(answer).and_then(|answer| answer.object("result")?.string("protocolVersion"));
        if let Some(revision) = version.and_then(|version| Revision::parse(&version)) {
            self.state().revision = revision;
        }
    }

    /// The session is gone: whoever keeps it opens another.
    fn lose(&self) -> Result<(), String> {
        // So that nobody is asked to end it.
        self.state().id = None;
        self.connection.end();
        Ok(())
    }

    /// What an error says: the session is gone if nobody is there any more; else it concerns the one message.
    async fn broke(&self, error: &UpstreamError) -> Result<(), String> {
        match error {
            UpstreamError::Unavailable(_) | UpstreamError::Unsent { .. } => self.lose(),
            UpstreamError::Failed(_) => match timeout(DIAL_TIMEOUT, self.link.dial()).await {
                Ok(Ok(())) => Err(error.to_string()),
                Ok(Err(_)) | Err(_) => self.lose(),
            },
            UpstreamError::TimedOut(_) | UpstreamError::Refused(_) | UpstreamError::Replaced(_) | _ => {
                Err(error.to_string())
            }
        }
    }

    /// Ends the node's session, if there is one.
    async fn end(&self) {
        if let Some(client) = self.client().filter(|_| self.has_id()) {
            drop(self.send(&client, Message::end(), clock::now() + LEISURE).await);
        }
    }

    /// Passes on what the node says of its own accord, as long as it does; false if it has no stream for that.
    async fn hear(&self) -> bool {
        let Some(client) = self.client() else { return true };
        let Ok(response) = self.send(&client, Message::listen(), clock::now() + LEISURE).await else { return true };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if self.has_id() => return self.lose().is_err(),
            StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_ACCEPTABLE => {
                return false;
            }
            _ => return true,
        }
        let read = by(clock::now() + LEISURE, Messages::of(response)).await;
        let Ok((_, mut messages)) = read else { return true };
        while let Some(Ok(message)) = messages.next().await {
            self.pass(message);
        }
        true
    }
}

impl Speaker for Spoken {
    async fn ask(&self, said: Said) {
        if let Err(why) = self.exchange(&said).await {
            self.pass(response(&said.id, "error", &error(INTERNAL_ERROR, &why)));
        }
    }

    async fn tell(&self, method: Option<&str>, line: Line) -> Option<Box<str>> {
        let kind = if method.is_some() { Kind::Notification } else { Kind::Response };
        let (caller, until) = self.asked_by(&line)?;
        let given_up = if method == Some(Method::CANCELLED) { cancelled(&line.text) } else { None };
        let message = Message::of(kind, method.unwrap_or_default(), None, line.text);
        let lost = match self.send(&caller, message, until).await {
            Ok(answer) if answer.status() == StatusCode::NOT_FOUND && self.has_id() => self.lose(),
            Ok(answer) if !answer.status().is_success() => Err(format!("it answered {}", answer.status())),
            Ok(_) => Ok(()),
            Err(error) => self.broke(&error).await,
        };
        if let Err(why) = lost {
            // The client was told that it is accepted, and has no other way to be told more.
            tracing::debug!(session = self.connection.hint(), why, "the node does not take a message");
        } else if method == Some(Method::INITIALIZED) {
            self.has_begun.set(true);
        }
        given_up
    }

    async fn listen(&self) -> Infallible {
        self.has_begun.until(|has_begun| *has_begun).await;
        let mut wait = LISTEN_AGAIN;
        loop {
            let begun = clock::now();
            if !self.hear().await {
                return std::future::pending().await;
            }
            // A stream that lasted is asked for again at once.
            let lasted = clock::now().saturating_duration_since(begun) >= LISTEN_AGAIN_MAX;
            wait = if lasted { LISTEN_AGAIN } else { delay(wait, LISTEN_AGAIN, LISTEN_AGAIN_MAX, fastrand::u64(..)) };
            sleep(wait).await;
        }
    }
}

/// Which request a client takes back.
fn cancelled(text: &[u8]) -> Option<Box<str>> {
    Object::of(text)?.get("params").and_then(cancelled_id).map(Box::from)
}
