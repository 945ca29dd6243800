//! A legacy node, as clients of 2026-07-28 call it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::Body;
use mcp_guard::call::{Kind, Method};
use mcp_guard::middleware::headers::SESSION;
use mcp_guard::middleware::{McpRequest, UpstreamError, clock};
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::reply::same_id;
use mcp_guard::session::FromNode;
use tokio::time::{sleep, timeout};

use super::flight::{Asker, Flight};
use super::lease::Lease;
use super::listeners::Listeners;
use super::request::{self, Introduction};
use super::rounds::{self, Rounds};
use super::session::{IDLE, Key, NEWEST, Pool, Session};
use super::{discover, listen, result};
use crate::upstream::eras::NodeUpstream;
use crate::upstream::eras::answer::{BoxError, EraBody, Messages};
use crate::upstream::eras::caller::Caller;
use crate::upstream::eras::message::{Message, response};
use crate::upstream::eras::object::Object;
use crate::upstream::eras::params::Tools;

/// A legacy node. Clones are the same node.
pub(crate) struct Node<U: NodeUpstream> {
    pub(super) upstream: U,
    pub(super) shared: Arc<Shared<U>>,
}

/// What all cores share.
pub(crate) struct Shared<U: NodeUpstream> {
    pub(super) pool: Pool,
    pub(super) rounds: Rounds<U>,
    pub(super) listeners: Listeners,
    pub(super) tools: Tools,
}

impl<U: NodeUpstream> Shared<U> {
    /// For a node with so many places for calls at once.
    fn new(places: usize) -> Self {
        Self {
            pool: Pool::default(),
            rounds: Rounds::new(places / ROUNDS_SHARE),
            listeners: Listeners::default(),
            tools: Tools::default(),
        }
    }
}

impl<U: NodeUpstream> Clone for Node<U> {
    fn clone(&self) -> Self {
        Self { upstream: self.upstream.clone(), shared: Arc::clone(&self.shared) }
    }
}

/// What the node gave in place of a session or of an answer in it.
pub(super) enum Instead<B> {
    /// An answer that says why, as of who is not let in.
    Answer(Box<Response<EraBody<B>>>),
    /// None at all.
    Error(UpstreamError),
}

impl<B> From<UpstreamError> for Instead<B> {
    fn from(error: UpstreamError) -> Self {
        Self::Error(error)
    }
}

/// Of all places for calls, this part may be taken by calls that wait for their clients' answers.
const ROUNDS_SHARE: usize = 4;

/// How long it may take until the place of a session that was ended is free.
const MAKING_ROOM: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long a session may take to open, also when its client has left. The client's own waiting is over before.
const OPENING_MAX: Duration = Duration::from_secs(120);

/// How long a node may take for what nobody waits for.
const LEISURE: Duration = Duration::from_secs(5);

impl<U: NodeUpstream> Node<U> {
    /// One with so many places for calls at once.
    pub(crate) fn new(upstream: U, places: usize) -> Self {
        Self { upstream, shared: Arc::new(Shared::new(places)) }
    }

    /// Other nodes are behind `upstream` now, with so many places for calls at once.
    pub(crate) fn other_nodes(&self, places: usize) {
        self.shared.rounds.set_max(places / ROUNDS_SHARE);
        self.shared.tools.forget();
    }

    /// The same node by other connections.
    pub(crate) fn by(&self, upstream: U) -> Self {
        Self { upstream, shared: Arc::clone(&self.shared) }
    }

    /// Answers a message of the stateless revision.
    pub(crate) async fn serve(&self, request: McpRequest) -> Result<Response<EraBody<U::Body>>, UpstreamError> {
        match request.call.kind {
            Kind::Request => {}
            // What a client tells of its own accord concerns its requests, each of which it can take back by leaving.
            Kind::Notification => return Ok(EraBody::empty(StatusCode::ACCEPTED)),
            Kind::Response => {
                return Err(refuse(Reason::InvalidRequest, "this revision has no requests of the server's"));
            }
            Kind::Listen | Kind::End => return Err(refuse(Reason::MethodNotAllowed, "this revision has no sessions")),
        }
        let params = request.call.params.clone().and_then(|range| request.body.get(range));
        let params = params.and_then(Object::of).unwrap_or_default();
        let (caller, call) = (Caller::of(&request), Arc::clone(&request.call));
        let introduction = Introduction::of(&params).map_err(refused)?;
        let asker = Asker { caller, call, introduction };
        let method = &request.call.method;
        let answered = if request::is_gone(method) {
            return Err(refuse(Reason::MethodNotFound, "the revision 2026-07-28 has no such method"));
        } else if method.is(Method::SERVER_DISCOVER) {
            discover::answer(self, &asker).await
        } else if method.is(Method::SUBSCRIPTIONS_LISTEN) {
            listen::open(self, asker, &params).await
        } else if let Some(state) = params.string("requestState") {
            let (id, round) =
                self.shared.rounds.take(&state, &asker.caller.identity(), &asker.call).map_err(refused)?;
            let responses = params.object("inputResponses").unwrap_or_default();
            return Flight::go_on(id, round, &responses, asker).await;
        } else {
            let params = request::params(params);
            if method.is(Method::TOOLS_CALL) {
                self.shared.tools.check(&request.head.headers, &params).map_err(refused)?;
            }
            self.call(asker, &params).await
        };
        match answered {
            Ok(response) => Ok(response),
            Err(Instead::Answer(response)) => Ok(*response),
            // Nothing was sent, so that it can be sent again.
            Err(Instead::Error(UpstreamError::Unavailable(detail) | UpstreamError::Unsent { detail, .. })) => {
                Err(UpstreamError::Unsent { detail, request: Box::new(request) })
            }
            Err(Instead::Error(error)) => Err(error),
        }
    }

    async fn call(&self, asker: Asker, params: &str) -> Result<Response<EraBody<U::Body>>, Instead<U::Body>> {
        let mut lease = self.session(&asker).await?;
        loop {
            self.set_level(&mut lease, &asker).await;
            let id = lease.begin();
            let message = Message::request(&id, asker.call.method.as_str(), params);
            let answered = self.upstream.send(lease.request(&asker.caller, message)).await;
            let response = match answered {
                Ok(response) => response,
                Err(UpstreamError::Refused(refusal))
                    if lease.is_used && refusal.reason() == Reason::SessionNotFound =>
                {
                    lease = self.another(lease, &asker).await?;
                    continue;
                }
                Err(error) => {
                    if is_unsent(&error) {
                        lease.settled();
                    }
                    return Err(error.into());
                }
            };
            if response.status().is_success() {
                let (_, messages) = Messages::of(response).await?;
                return Ok(Flight::new(self.clone(), lease, id, messages).respond(asker).await?);
            }
            lease.settled();
            let (head, body) = whole(response).await?;
            // The node has ended the session meanwhile, and has run nothing in it; unless it says so of the call itself.
            let speaks_of_session = matches!(head.status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST)
                && !matches!(FromNode::read(&body), Some(FromNode::Response { id: of, .. }) if same_id(of, &id));
            if lease.is_used && speaks_of_session {
                lease = self.another(lease, &asker).await?;
                continue;
            }
            return Ok(turned_down(head, body, &asker, lease.server()));
        }
    }

    /// A new session in place of one that the node does not know any more.
    async fn another(&self, forgotten: Lease<U>, asker: &Asker) -> Result<Lease<U>, Instead<U::Body>> {
        drop(forgotten);
        self.open(asker, Key::of(&asker.caller, &asker.introduction)).await
    }

    /// A session of the client's: one that waits, or a new one.
    pub(super) async fn session(&self, asker: &Asker) -> Result<Lease<U>, Instead<U::Body>> {
        let key = Key::of(&asker.caller, &asker.introduction);
        match self.shared.pool.take(&key) {
            Some(session) => Ok(Lease::new(self, session)),
            None => self.open(asker, key).await,
        }
    }

    /// Opens a session. That goes on if the client leaves meanwhile, and then ends it: it would be the node's for long.
    async fn open(&self, asker: &Asker, key: Key) -> Result<Lease<U>, Instead<U::Body>> {
        let (node, asker) = (self.clone(), asker.clone());
        let opening = async move { timeout(OPENING_MAX, node.open_to_its_end(&asker, key)).await };
        match tokio::spawn(opening).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(_)) => Err(refuses("it does not come to the end of its answer").into()),
            Err(_) => Err(refuses("the guard broke off").into()),
        }
    }

    async fn open_to_its_end(&self, asker: &Asker, key: Key) -> Result<Lease<U>, Instead<U::Body>> {
        let ask = || {
            let params = asker.introduction.initialize(NEWEST.as_str());
            let message = Message::request("\"mcp-guard-0\"", Method::INITIALIZE, &params);
            self.upstream.send(asker.caller.request(message, NEWEST, http::HeaderMap::new()))
        };
        let is_full = |answered: &Result<_, UpstreamError>| matches!(answered, Err(UpstreamError::Refused(refusal)) if refusal.reason() == Reason::TooManySessions);
        let mut answered = ask().await;
        if is_full(&answered)
            && let Some(oldest) = self.shared.pool.make_room()
        {
            self.end(&oldest).await;
            // Its place is free when its process is gone.
            let asked_first = clock::now();
            while is_full(&answered) && clock::now() - asked_first < MAKING_ROOM {
                sleep(LOOK_AGAIN).await;
                answered = ask().await;
            }
        }
        let response = answered?;
        let id = response.headers().get(SESSION).cloned();
        if !response.status().is_success() {
            let (head, body) = whole(response).await?;
            return Err(Instead::Answer(Box::new(turned_down(head, body, asker, "null"))));
        }
        // It ends if this does not come to its end.
        let unbegun = Lease::new(self, Session::unbegun(key, &asker.caller, id));
        let (_, mut messages) = Messages::of(response).await?;
        let answer = loop {
            let message = messages.next().await.ok_or_else(|| refuses("it ended before its answer"))??;
            match FromNode::read(&message) {
                Some(FromNode::Response { is_error: false, .. }) => break message,
                Some(FromNode::Response { .. }) => {
                    let told = result::answer(&message, asker.id(), &asker.call.method, "null");
                    let (status, told) = told.ok_or_else(|| refuses("its answer is none"))?;
                    return Err(Instead::Answer(Box::new(EraBody::json(status, told))));
                }
                Some(FromNode::Request { .. } | FromNode::Notification { .. }) | None => {}
            }
        };
        let message = Object::of(&answer).unwrap_or_default();
        let begun = unbegun.begun(&message.object("result").unwrap_or_default());
        let lease = unbegun.with(begun.ok_or_else(|| refuses("its answer names no revision that is known"))?);
        self.say(lease.request(&asker.caller, Message::notification(Method::INITIALIZED, "{}"))).await;
        Ok(lease)
    }

    /// Lets the node tell as much as the client wants to hear.
    async fn set_level(&self, session: &mut Session, asker: &Asker) {
        let Some(level) = asker.introduction.log_level() else { return };
        if session.log_level.as_deref() == Some(level) || !session.capabilities().has("logging") {
            return;
        }
        let params = format!(r#"{{"level":{level}}}"#);
        if self.ask(session, &asker.caller, Method::LOGGING_SET_LEVEL, &params).await {
            session.log_level = Some(level.into());
        }
    }

    /// Asks the node for something without a result, and says whether it granted it.
    pub(super) async fn ask(&self, session: &mut Session, caller: &Caller, method: &str, params: &str) -> bool {
        let id = session.next_id();
        let request = session.request(caller, Message::request(&id, method, params));
        let Ok(response) = self.upstream.send(request).await else { return false };
        let Ok((_, mut messages)) = Messages::of(response).await else { return false };
        while let Some(Ok(message)) = messages.next().await {
            if let Some(FromNode::Response { is_error, .. }) = FromNode::read(&message) {
                return !is_error;
            }
        }
        false
    }

    /// Says what the node need not answer, and whether it has taken it.
    pub(super) async fn say(&self, request: McpRequest) -> bool {
        let Ok(Ok(response)) = timeout(LEISURE, self.upstream.send(request)).await else { return false };
        let is_taken = response.status().is_success();
        // Read to its end, so that its connection serves the next one.
        let _ = timeout(LEISURE, Messages::of(response)).await;
        is_taken
    }

    pub(super) async fn end(&self, session: &Session) {
        if let Some(request) = session.end() {
            self.say(request).await;
        }
    }

    /// Ends sessions and calls that have waited too long for their clients, or all of them.
    pub(crate) async fn sweep(&self, are_all_due: bool) {
        let now = clock::now();
        let (idle, lasts) = if are_all_due { (Duration::ZERO, Duration::ZERO) } else { (IDLE, rounds::LASTS) };
        drop(self.shared.rounds.take_idle(now, lasts));
        let due = self.shared.pool.take_idle(now, idle);
        futures_util::future::join_all(due.iter().map(|session| self.end(session))).await;
    }
}

/// The node's own message for a client whose request is answered without it.
pub(super) fn told(asker: &Asker, result: &str) -> Bytes {
    response(asker.id(), "result", result)
}

fn is_unsent(error: &UpstreamError) -> bool {
    matches!(error, UpstreamError::Unavailable(_) | UpstreamError::Unsent { .. } | UpstreamError::Refused(_))
}

/// An answer that is no stream, read to its end.
async fn whole<B>(response: Response<B>) -> Result<(Parts, Bytes), UpstreamError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    let (head, body) = response.into_parts();
    let (_, mut messages) = Messages::of(Response::new(body)).await?;
    Ok((head, messages.next().await.transpose()?.unwrap_or_default()))
}

/// A status that is no success stays, with all that its head says; an error in the body gets the id of the client's request.
fn turned_down<B>(head: Parts, body: Bytes, asker: &Asker, server: &str) -> Response<EraBody<B>> {
    let error = result::answer(&body, asker.id(), &asker.call.method, server).map(|(_, error)| error);
    EraBody::with_head(head, error.unwrap_or(body))
}

/// As much of what the node says is told, and no more.
const WHY_CHARS_MAX: usize = 200;

fn refuses(why: &str) -> UpstreamError {
    let why: String = why.chars().take(WHY_CHARS_MAX).collect();
    UpstreamError::Unavailable(format!("the node opens no session: {why}"))
}

fn refused(refusal: Refusal) -> UpstreamError {
    UpstreamError::Refused(Box::new(refusal))
}

fn refuse(reason: Reason, detail: &str) -> UpstreamError {
    refused(Refusal::new(reason, detail))
}
