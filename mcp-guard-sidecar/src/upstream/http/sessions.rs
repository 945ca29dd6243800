//! Sessions of the guard's own with a node that speaks Streamable HTTP and has sessions of its own.
//!
//! One of the guard's is one of the node's at a time; when that is gone, with its node or without, the guard opens another
//! (`sessions: {failover: reinitialize}`), and the client's goes on.
//!
//! | the node                                   | what happens                                                          |
//! |--------------------------------------------|-----------------------------------------------------------------------|
//! | cannot be reached, or does not know its session (404) | the connection ends: another is made                       |
//! | breaks off                                 | the same if it cannot be reached any more; else the call fails alone  |
//! | answers with another status                | an error, the node's own where it has one                             |
//! | has no stream for what it says (405)       | it is not asked again                                                 |

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use mcp_guard::call::{Kind, Method};
use mcp_guard::middleware::headers::{SESSION, VERSION};
use mcp_guard::middleware::{McpRequest, Upstream, UpstreamError, clock};
use mcp_guard::reply::same_id;
use mcp_guard::revision::Revision;
use mcp_guard::session::FromNode;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::{sleep, timeout, timeout_at};

use super::body::PooledBody;
use super::service::HttpUpstream;
use crate::upstream::dial::{Dialer, why};
use crate::upstream::eras::answer::Messages;
use crate::upstream::eras::caller::Caller;
use crate::upstream::eras::message::{INTERNAL_ERROR, Message, error, response};
use crate::upstream::eras::object::Object;
use crate::upstream::sessions::{Connection, Inlet, Keeper, Link, Said, Speaker, serve};

/// A way to such a node.
pub(crate) struct HttpSessions {
    upstream: HttpUpstream,
    dialer: Dialer,
}

impl HttpSessions {
    /// To the node behind `upstream`, to which `dialer` makes connections too: before a session is opened it is seen whether
    /// there is somebody.
    pub(crate) fn new(upstream: HttpUpstream, dialer: Dialer) -> Self {
        Self { upstream, dialer }
    }
}

impl fmt::Debug for HttpSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSessions").field("dialer", &self.dialer).finish_non_exhaustive()
    }
}

#[async_trait]
impl Link for HttpSessions {
    async fn connect(&self, connection: &Arc<Connection>, lines: Receiver<Bytes>) -> Result<Keeper, UpstreamError> {
        let unavailable = |error| UpstreamError::Unavailable(format!("no connection: {}", why(&error)));
        self.dialer.dial().await.map_err(unavailable)?;
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
    upstream: HttpUpstream,
    dialer: Dialer,
    connection: Arc<Connection>,
    state: Mutex<State>,
    has_begun: watch::Sender<bool>,
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

/// From the end of the node's stream to the next one.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

type Answer = Response<PooledBody>;

impl Spoken {
    fn new(link: &HttpSessions, connection: &Arc<Connection>) -> Self {
        Self {
            upstream: link.upstream.clone(),
            dialer: link.dialer.clone(),
            connection: Arc::clone(connection),
            state: Mutex::new(State { id: None, revision: Revision::V2025_11_25 }),
            has_begun: watch::Sender::new(false),
        }
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

    /// Whether a request of the client's, or of the guard's in its name, was answered; the answer is passed on.
    async fn exchange(&self, said: &Said) -> Result<(), String> {
        let (caller, until) = match &said.came {
            Some(came) => (Caller::by(&came.head), came.until),
            None => (self.client().ok_or("the guard did not read a request")?, clock::now() + SILENCE_MAX),
        };
        let message = Message::of(Kind::Request, &said.method, Some(&said.id), said.line.clone());
        let late = || "the node did not answer in time".to_owned();
        let begins = said.method == Method::INITIALIZE;
        let mut request = self.request(&caller, message);
        if begins {
            // Which revision it is, its answer says.
            Arc::make_mut(&mut request.head).headers.remove(VERSION);
        }
        let sent = self.upstream.send(request);
        let answered = timeout_at(until.into(), sent).await.map_err(|_| late())?;
        let response = match answered {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => return self.lose(),
            Ok(response) => response,
            Err(UpstreamError::Unavailable(_) | UpstreamError::Unsent { .. }) => return self.lose(),
            Err(error) => return self.broke(&error).await,
        };
        if begins {
            self.state().id = response.headers().get(SESSION).cloned();
        }
        let status = response.status();
        let (_, mut messages) = Messages::of(response).await.map_err(|error| error.to_string())?;
        let mut until: Instant = until;
        while let Some(message) = timeout_at(until.into(), messages.next()).await.map_err(|_| late())? {
            let message = match message {
                Ok(message) => message,
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
            until = clock::now() + SILENCE_MAX;
        }
        Err(if status.is_success() {
            "the node ended its answer".into()
        } else {
            format!("the node answered {status}")
        })
    }

    fn begin(&self, answer: &[u8]) {
        let version = Object::of(answer).and_then(|answer| answer.object("result")?.string("protocolVersion"));
        if let Some(revision) = version.and_then(|version| Revision::parse(&version)) {
            self.state().revision = revision;
        }
    }

    /// The session is gone: whoever keeps it opens another.
    fn lose(&self) -> Result<(), String> {
        self.connection.end();
        Ok(())
    }

    /// The node broke off: with all its sessions if nobody is there any more.
    async fn broke(&self, error: &UpstreamError) -> Result<(), String> {
        match timeout(DIAL_TIMEOUT, self.dialer.dial()).await {
            Ok(Ok(_)) => Err(error.to_string()),
            Ok(Err(_)) | Err(_) => self.lose(),
        }
    }

    /// Says what needs no answer.
    async fn say(&self, message: Message) -> Option<Answer> {
        let request = self.request(&self.client()?, message);
        timeout(LEISURE, self.upstream.send(request)).await.ok()?.ok()
    }

    /// Ends the node's session, if there is one.
    async fn end(&self) {
        if self.state().id.is_some() {
            self.say(Message::end()).await;
        }
    }

    /// Passes on what the node says of its own accord, as long as it does; false if it has no stream for that.
    async fn hear(&self) -> bool {
        let Some(response) = self.say(Message::listen()).await else { return true };
        if response.status() != StatusCode::OK {
            return response.status().is_server_error();
        }
        let Ok((_, mut messages)) = Messages::of(response).await else { return true };
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

    async fn tell(&self, method: Option<&str>, line: Bytes) -> Option<Box<str>> {
        let kind = if method.is_some() { Kind::Notification } else { Kind::Response };
        let told = self.say(Message::of(kind, method.unwrap_or_default(), None, line)).await;
        if told.is_none_or(|answer| answer.status() == StatusCode::NOT_FOUND) {
            self.connection.end();
        } else if method == Some(Method::INITIALIZED) {
            self.has_begun.send_replace(true);
        }
        // What the node makes of a cancellation is its own affair.
        None
    }

    async fn listen(&self) {
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.has_begun.subscribe().wait_for(|has_begun| *has_begun).await;
        while self.hear().await {
            sleep(LISTEN_AGAIN).await;
        }
        std::future::pending().await
    }
}
