//! A legacy client: what the guard keeps for it, and what becomes of its messages.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use mcp_guard::call::Method;
use mcp_guard::session::{FromNode, cancelled_id};
use tokio::sync::{oneshot, watch};

use super::call::failure;
use super::request::Introduction;
use crate::upstream::eras::NodeUpstream;
use crate::upstream::eras::caller::Caller;
use crate::upstream::eras::is_level;
use crate::upstream::eras::message::{INVALID_PARAMS, Message, error, response};
use crate::upstream::eras::object::Object;
use crate::upstream::eras::params::Tools;
use crate::upstream::sessions::{Connection, Inlet, Line, Said, Speaker};

/// Most resources that a client is told of; what is beyond is refused.
const SUBSCRIPTIONS_MAX: usize = 256;

/// A legacy client of a stateless node.
pub(super) struct Client<U> {
    pub(super) upstream: U,
    pub(super) tools: Arc<Tools>,
    connection: Arc<Connection>,
    state: Mutex<State>,
    /// What it wants to be told of; whoever listens for it learns of changes.
    wanted: watch::Sender<Wanted>,
}

#[derive(Default)]
struct State {
    introduction: Introduction,
    asked: HashMap<Box<str>, oneshot::Sender<Result<String, String>>>,
    questions: u64,
    opener: Option<Caller>,
}

/// What a client wants to be told of.
#[derive(Clone, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) has_begun: bool,
    pub(super) capabilities: Box<str>,
    pub(super) resources: BTreeSet<String>,
}

/// A request of a client's: its id as JSON text, for whom it is sent on, and when its answer must have begun.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) id: &'a str,
    pub(super) caller: &'a Caller,
    pub(super) until: Instant,
}

impl<U: NodeUpstream> Client<U> {
    pub(super) fn new(upstream: U, tools: Arc<Tools>, connection: Arc<Connection>) -> Self {
        Self { upstream, tools, connection, state: Mutex::default(), wanted: watch::Sender::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn introduction(&self) -> Introduction {
        self.state().introduction.clone()
    }

    pub(super) fn note_capabilities(&self, capabilities: &str) {
        self.wanted.send_modify(|wanted| wanted.capabilities = capabilities.into());
    }

    pub(super) fn wanted(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }

    /// For whom the guard listens: whoever has opened the session.
    pub(super) fn opener(&self) -> Option<Caller> {
        self.state().opener.clone()
    }

    /// Tells the client something.
    pub(super) fn pass(&self, message: Bytes) {
        Inlet::new(&self.connection).take(message);
    }

    async fn answer(&self, asking: Asking<'_>, method: &str, params: &str) -> Bytes {
        let id = asking.id;
        let read = Object::read(params).unwrap_or_default();
        let granted = || response(id, "result", "{}");
        match method {
            Method::INITIALIZE => {
                {
                    let mut state = self.state();
                    state.introduction = Introduction::of(&read);
                    state.opener = Some(asking.caller.clone());
                }
                self.begin(asking, &read).await
            }
            Method::PING => granted(),
            Method::LOGGING_SET_LEVEL => match read.get("level").filter(|level| is_level(level)) {
                Some(level) => {
                    self.state().introduction.log_level = level.into();
                    granted()
                }
                None => response(id, "error", &error(INVALID_PARAMS, "`level` is no log level")),
            },
            Method::RESOURCES_SUBSCRIBE => {
                let uri = read.string("uri").unwrap_or_default();
                let has_place = self.wanted.send_if_modified(|wanted| {
                    let has_place = wanted.resources.len() < SUBSCRIPTIONS_MAX;
                    has_place && wanted.resources.insert(uri.clone())
                }) || self.wanted.borrow().resources.contains(&uri);
                if has_place { granted() } else { response(id, "error", &failure("too many subscriptions")) }
            }
            Method::RESOURCES_UNSUBSCRIBE => {
                let uri = read.string("uri").unwrap_or_default();
                self.wanted.send_if_modified(|wanted| wanted.resources.remove(&uri));
                granted()
            }
            _ => self.call(asking, method, params).await,
        }
    }

    /// Takes the client's answer to a question.
    fn take_answer(&self, message: &Object<'_>) {
        let asked = message.get("id").and_then(|id| self.state().asked.remove(id));
        let Some(asked) = asked else { return };
        let answer = match (message.get("result"), message.get("error")) {
            (Some(result), _) => Ok(result.to_owned()),
            (None, error) => Err(error.unwrap_or("{}").to_owned()),
        };
        // Whoever asked may be gone.
        let _ = asked.send(answer);
    }

    /// Asks the client all of `requests`; the answers, or its first refusal, as JSON text.
    pub(super) async fn ask_client(&self, requests: &Object<'_>) -> Result<String, String> {
        let asked = requests.members().map(async |(name, request)| {
            let request = Object::read(request).unwrap_or_default();
            let method = request.string("method").unwrap_or_default();
            let answer = self.question(&method, request.get("params").unwrap_or("{}")).await?;
            Ok::<_, String>(format!("{name}:{answer}"))
        });
        let answers: Result<Vec<String>, String> = join_all(asked).await.into_iter().collect();
        Ok(format!("{{{}}}", answers?.join(",")))
    }

    async fn question(&self, method: &str, params: &str) -> Result<String, String> {
        let (answered, answer) = oneshot::channel();
        let id: Box<str> = {
            let mut state = self.state();
            state.questions += 1;
            let id: Box<str> = format!("\"mcp-guard-{}\"", state.questions).into();
            state.asked.insert(id.clone(), answered);
            id
        };
        // Forgotten if nobody waits any more.
        let _asked = Asked { client: self, id: &id };
        self.pass(Message::request(&id, method, params).body);
        answer.await.unwrap_or_else(|_| Err(failure("the client's answer was lost")))
    }
}

impl<U: NodeUpstream> Speaker for Client<U> {
    async fn ask(&self, said: Said) {
        let Said { id, method, line } = said;
        let message = Object::of(&line.text).unwrap_or_default();
        let answer = match self.connection.asked_by(&line) {
            Some(came) => {
                let asking = Asking { id: &id, caller: &Caller::by(&came.head), until: came.until };
                self.answer(asking, &method, message.get("params").unwrap_or("{}")).await
            }
            None => response(&id, "error", &failure("the guard did not read the request")),
        };
        self.pass(answer);
    }

    async fn tell(&self, method: Option<&str>, line: Line) -> Option<Box<str>> {
        let message = Object::of(&line.text)?;
        match method {
            None => self.take_answer(&message),
            Some(Method::INITIALIZED) => self.wanted.send_modify(|wanted| wanted.has_begun = true),
            Some(Method::CANCELLED) => return message.get("params").and_then(cancelled_id).map(Box::from),
            // The node has no way to be told.
            Some(_) => {}
        }
        None
    }

    async fn listen(&self) -> Infallible {
        self.hear_all().await
    }
}

/// A question that is open.
struct Asked<'a, U: NodeUpstream> {
    client: &'a Client<U>,
    id: &'a str,
}

impl<U: NodeUpstream> Drop for Asked<'_, U> {
    fn drop(&mut self) {
        self.client.state().asked.remove(self.id);
    }
}

/// Whether a message of the node is for the client.
pub(super) fn is_told(message: &[u8]) -> bool {
    match FromNode::read(message) {
        Some(FromNode::Notification { method, .. }) => method != r#""notifications/subscriptions/acknowledged""#,
        Some(FromNode::Response { .. } | FromNode::Request { .. }) | None => false,
    }
}
