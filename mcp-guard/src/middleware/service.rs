//! The outer end of the stack: HTTP in, messages through, HTTP out.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::{Either, join_all, ready};
use http::header::HeaderName;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use serde_json::value::RawValue;
use tower::Service;

use super::answer::Answer;
use super::body::{GuardBody, event};
use super::edge::{Admitted, EdgePolicy, spell_out_accept};
use super::handler::{Client, Handler, McpRequest, Subject};
use super::read_body::read_body;
use super::{agreement, clock, metrics};
use crate::call::{Call, Kind, Method};
use crate::config::LimitsPolicy;
use crate::json::Tape;
use crate::message::{self, Fault, Reading};
use crate::outcome::Outcome;
use crate::refusal::{Reason, Refusal};
use crate::revision::Revision;

/// Decides by the client's address, and the time, whether its request is read at all.
pub type Doorkeeper = Arc<dyn Fn(Option<IpAddr>, Instant) -> Result<(), Refusal> + Send + Sync>;

/// What holds for every message, whatever concerns follow.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Settings {
    /// Sizes, counts and times.
    pub limits: LimitsPolicy,
    /// Which requests may come in.
    pub edge: EdgePolicy,
    /// Asked before a body is read.
    pub doorkeeper: Option<Doorkeeper>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("limits", &self.limits).field("edge", &self.edge).finish_non_exhaustive()
    }
}

/// An http service whose messages go through the handler `H`.
///
/// Its errors are responses, so its error type is [`Infallible`].
pub struct McpService<H> {
    shared: Arc<Shared<H>>,
}

struct Shared<H> {
    handler: H,
    settings: Settings,
}

impl<H: Handler> McpService<H> {
    /// A service with default [`Settings`].
    pub fn new(handler: H) -> Self {
        Self::with_settings(handler, Settings::default())
    }

    /// A service with the given settings.
    pub fn with_settings(handler: H, settings: Settings) -> Self {
        Self { shared: Arc::new(Shared { handler, settings }) }
    }
}

impl<H> Clone for McpService<H> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<H> fmt::Debug for McpService<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpService").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl<H, B> Service<Request<B>> for McpService<H>
where
    H: Handler,
    B: Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<GuardBody<H::Body>>;
    type Error = Infallible;
    type Future = Served<H::Body>;

    /// Always ready: a call that has to wait does so in the queue, where its waiting is bounded.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        let client = take_client(&mut head);
        self.serve(Request::from_parts(head, body), client)
    }
}

/// The answer of a [`McpService`], on its way.
pub type Served<B> = Pin<Box<dyn Future<Output = Result<Response<GuardBody<B>>, Infallible>> + Send>>;

impl<H: Handler> McpService<H> {
    /// Answers a request of `client`: what [`Service::call`] does for one that has its [`Client`] with it.
    pub fn serve<B>(&self, request: Request<B>, client: Option<IpAddr>) -> Served<H::Body>
    where
        B: Body + Send + 'static,
        B::Data: Send,
    {
        let (mut head, body) = request.into_parts();
        let now = clock::now();
        let admitted = match self.shared.come_in(&head, client, now) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                let response = self.shared.refuse(&refusal.into()).into_response();
                return Box::pin(ready(Ok(response)));
            }
        };
        if admitted.kind == Kind::Request {
            spell_out_accept(&mut head.headers);
        }
        // Everything that waits is in one allocation, so it carries as little as it can.
        let (shared, head) = (Arc::clone(&self.shared), Arc::new(head));
        Box::pin(async move {
            Ok(shared.answer(head, body, admitted, Sender { session: None, client, now }).await.into_response())
        })
    }
}

/// Who sent a message, as far as the head of its request says, and when.
#[derive(Clone)]
struct Sender {
    session: Option<Box<str>>,
    client: Option<IpAddr>,
    now: Instant,
}

impl<H: Handler> Shared<H> {
    /// Steps 2 and 4: by its head, and by the client's address.
    fn come_in(&self, head: &Parts, client: Option<IpAddr>, now: Instant) -> Result<Admitted, Refusal> {
        let admitted = self.settings.edge.admit(head)?;
        if let Some(doorkeeper) = &self.settings.doorkeeper {
            doorkeeper(client, now)?;
        }
        Ok(admitted)
    }

    async fn answer<B>(&self, head: Arc<Parts>, body: B, admitted: Admitted, mut sender: Sender) -> Answer<H::Body>
    where
        B: Body + Send,
        B::Data: Send,
    {
        let Admitted { kind, session, revision, unknown_version } = admitted;
        sender.session = session;
        if kind != Kind::Request {
            let call = Call::new(kind, Method::NONE, revision.unwrap_or(Revision::WHEN_ABSENT));
            return self.forward(head, (Bytes::new(), None), sender, call).await;
        }
        let limits = &self.settings.limits;
        let body = match read_body(body, limits.body_bytes_max(), limits.body_timeout()).await {
            Ok((body, came_at_once)) => {
                if !came_at_once {
                    sender.now = clock::now();
                }
                body
            }
            Err(refusal) => return self.refuse(&refusal.into()),
        };
        let read = message::read(
            &body,
            Reading { revision, depth_max: limits.json_depth_max(), batch_max: limits.batch_max() },
        );
        if let Some(version) = &unknown_version {
            return self.refuse(&of_unknown_version(version, read));
        }
        match read {
            Ok(message::Body::Single(call, tape)) => self.forward(head, (body, Some(tape)), sender, call).await,
            // Boxed, so that messages which come alone do not carry the answers to batches.
            Ok(message::Body::Batch(members)) => Box::pin(self.batch(head, body, sender, members)).await,
            Err(fault) => self.refuse(&fault),
        }
    }

    async fn batch(
        &self,
        head: Arc<Parts>,
        body: Bytes,
        sender: Sender,
        members: Vec<(Range<usize>, Result<Call, Fault>)>,
    ) -> Answer<H::Body> {
        let answers = members.into_iter().enumerate().map(async |(place, (range, member))| match member {
            Ok(mut call) => {
                call.later_member = place > 0;
                let id_of = Arc::new(call.clone());
                let body = body.slice(range);
                let answer = self.forward(Arc::clone(&head), (body, None), sender.clone(), call).await;
                Member { answer, call: Some(id_of) }
            }
            Err(fault) => Member { answer: self.refuse(&fault), call: None },
        });
        join(join_all(answers).await)
    }

    fn forward(
        &self,
        head: Arc<Parts>,
        (body, tape): (Bytes, Option<Tape>),
        sender: Sender,
        mut call: Call,
    ) -> impl Future<Output = Answer<H::Body>> + Send {
        if let Err(refusal) = agreement::check(&head.headers, &call) {
            return Either::Right(ready(self.refuse(&Fault { refusal, call: Some(Box::new(call)) })));
        }
        call.session = sender.session;
        call.client = sender.client;
        call.subject = head.extensions.get::<Subject>().map(|subject| Box::from(&*subject.0));
        let mut request = McpRequest::at(sender.now, head, body, Arc::new(call));
        request.tape = tape;
        Either::Left(self.handler.handle(request))
    }

    /// Refuses what never reached the handlers.
    fn refuse(&self, fault: &Fault) -> Answer<H::Body> {
        metrics::refused(fault.refusal.reason());
        Answer::refuse_with(&fault.refusal, fault.call.as_deref(), Outcome::Refused)
    }
}

/// The refusal of a body whose headers name a revision that there is not; what is wrong with the body itself comes first.
fn of_unknown_version(version: &str, read: Result<message::Body, Fault>) -> Fault {
    match read {
        Ok(message::Body::Single(call, _)) => {
            Fault { refusal: message::unsupported(version), call: Some(Box::new(call)) }
        }
        Ok(message::Body::Batch(_)) => message::unsupported(version).into(),
        Err(fault) => fault,
    }
}

/// The client's address, which is kept in the [`Call`] from here on.
fn take_client(head: &mut Parts) -> Option<IpAddr> {
    let client = head.extensions.remove::<Client>();
    if head.extensions.is_empty() {
        // An empty map would be copied with the head.
        head.extensions = http::Extensions::new();
    }
    client.map(|client| client.0)
}

/// One answer out of those to the members of a batch: an array, or a stream if one of them is.
///
/// Members without an answer leave nothing; if none has one, the batch is accepted (202). A batch of which no member
/// was served, by the guard or by the node, has the first one's status.
fn join<B>(members: Vec<Member<B>>) -> Answer<B> {
    let (mut head, ()) = Response::new(()).into_parts();
    let failed = members.iter().all(Member::has_failed);
    if let Some(first) = members.first().filter(|_| failed) {
        head.status = first.answer.head().status;
        head.headers = why(&members, &first.answer);
    }
    if members.iter().all(|member| member.answer.outcome().is_some()) {
        let bodies: Vec<Bytes> = members.iter().filter_map(Member::message).collect();
        if bodies.is_empty() {
            head.status = if failed { head.status } else { StatusCode::ACCEPTED };
            return Answer::whole(head, Bytes::new(), Outcome::Ok);
        }
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Answer::whole(head, array(&bodies), Outcome::Ok);
    }
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    let bodies = members.into_iter().map(|member| match member.message() {
        Some(message) => GuardBody::whole(event(&message)),
        None => member.answer.into_body(),
    });
    Answer::chained(head, bodies.collect::<VecDeque<_>>())
}

/// What the head of a batch says that was not served: what the first member's says, and the longest of the waits.
fn why<B>(members: &[Member<B>], first: &Answer<B>) -> HeaderMap {
    let kept =
        |(name, value): (&HeaderName, &HeaderValue)| FIRST_SAYS.contains(name).then(|| (name.clone(), value.clone()));
    let mut headers: HeaderMap = first.head().headers.iter().filter_map(kept).collect();
    if let Some(seconds) = members.iter().filter_map(|member| wait(&member.answer)).max() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    headers
}

/// By the first a client learns how to log in; the last finds the batch in the logs.
const FIRST_SAYS: [HeaderName; 3] =
    [header::WWW_AUTHENTICATE, header::RETRY_AFTER, HeaderName::from_static("x-request-id")];

/// A member of a batch, answered.
struct Member<B> {
    answer: Answer<B>,
    call: Option<Arc<Call>>,
}

impl<B> Member<B> {
    /// Whether it was refused, by the guard (under whatever status) or by the node.
    fn has_failed(&self) -> bool {
        let status = self.answer.head().status;
        self.answer.is_refusal().is_some() || status.is_client_error() || status.is_server_error()
    }

    /// Its whole answer. What is no JSON object would spoil the answers of the others, and is told as a failure.
    fn message(&self) -> Option<Bytes> {
        let message = self.answer.message()?;
        if message.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<&RawValue>(message).is_ok() {
            return Some(message.clone());
        }
        let refusal = Refusal::new(Reason::UpstreamFailed, format!("it answered {}", self.answer.head().status));
        refusal.body(self.call.as_deref()).map(Bytes::from)
    }
}

/// `Retry-After` of an answer, in seconds.
fn wait<B>(answer: &Answer<B>) -> Option<u64> {
    answer.head().headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

fn array(bodies: &[Bytes]) -> Bytes {
    let mut out = BytesMut::with_capacity(bodies.iter().map(|body| body.len() + 1).sum::<usize>() + 1);
    for (index, body) in bodies.iter().enumerate() {
        out.put_u8(if index == 0 { b'[' } else { b',' });
        out.extend_from_slice(body);
    }
    out.put_u8(b']');
    out.freeze()
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
