//! One MCP session: opened, called in, ended.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method as HttpMethod, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::clock::now;
use crate::exchange::{drain, read};
use crate::failure::Failure;
use crate::link::Link;
use crate::message::{Message, token};
use crate::plan::Method;
use crate::site::Site;

pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// A session of a client. It connects and opens itself when it is first needed.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) site: Arc<Site>,
    link: Link,
    number: u32,
    opened: Option<Opened>,
    /// Calls made so far, over all sessions of this number; also the id of the last one.
    pub(crate) calls: u32,
    random: fastrand::Rng,
}

/// What the server agreed to.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) headers: HeaderMap,
    pub(crate) id: Option<HeaderValue>,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Called {
    /// Its place in the mix.
    pub(crate) method: usize,
    /// When the right answer was there.
    pub(crate) answered: Result<Instant, Failure>,
}

impl Session {
    pub(crate) fn new(site: Arc<Site>, number: u32) -> Self {
        let link = Link::new(site.shared(number));
        Self { site, link, number, opened: None, calls: 0, random: fastrand::Rng::new() }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.opened.is_some()
    }

    /// Opens the session, within the plan's timeout.
    pub(crate) async fn open(&mut self) -> Result<(), Failure> {
        let start = now();
        let opened = within(self.site.run.plan.spec.timeout, self.initialize()).await;
        self.settle(opened.as_ref().err());
        self.site.count(|tally| match &opened {
            Ok(_) => {
                tally.sessions.count_opened();
                tally.opening.record(now() - start);
            }
            Err(failure) => tally.failures.open.count(*failure),
        });
        self.opened = Some(opened?);
        Ok(())
    }

    /// Calls what the mix chooses.
    pub(crate) async fn call(&mut self) -> Called {
        let site = Arc::clone(&self.site);
        let spec = &site.run.plan.spec;
        let method = spec.mix.choose(&mut self.random);
        let answered = within(spec.timeout, self.try_call(method)).await;
        self.settle(answered.as_ref().err());
        let is_lost = answered == Err(Failure::Status(404)) && !site.run.plan.stateless();
        if is_lost && self.opened.take().is_some() {
            site.count(|tally| {
                tally.sessions.lost += 1;
                tally.sessions.open -= 1;
            });
        }
        Called { method, answered }
    }

    async fn try_call(&mut self, method: usize) -> Result<Instant, Failure> {
        let site = Arc::clone(&self.site);
        let spec = &site.run.plan.spec;
        let (Some(opened), Some(template)) = (&self.opened, site.templates.get(method)) else {
            return Err(Failure::Connect);
        };
        self.calls = self.calls.wrapping_add(1);
        let size = spec.payload_bytes.choose(&mut self.random);
        let token = token(site.run.salt, self.number, self.calls);
        let (message, asked) = template.fill(u64::from(self.calls), token, size);
        let mut headers = opened.headers.clone();
        if site.run.plan.stateless() {
            name_method(&mut headers, spec.mix.entries().nth(method), &spec.tool);
        }
        let request = site.request(HttpMethod::POST, headers, message);
        let response = self.link.send(&site.run.dialer, request).await?;
        let is_ours = self.is_ours(&response);
        let answered = read(response, |body| site.check(method, body, &asked)).await?;
        if is_ours { Ok(answered) } else { Err(Failure::WrongSession) }
    }

    /// Whether `response` names this session, or none.
    fn is_ours(&self, response: &Response<Incoming>) -> bool {
        let own = self.opened.as_ref().and_then(|opened| opened.id.as_ref());
        response.headers().get(SESSION_ID).is_none_or(|id| Some(id) == own) || self.site.run.plan.stateless()
    }

    /// Asks for a stream to listen on.
    pub(crate) async fn listen(&mut self) -> Result<Response<Incoming>, Failure> {
        let site = Arc::clone(&self.site);
        let headers = self.opened.as_ref().map(|opened| opened.headers.clone()).ok_or(Failure::Connect)?;
        let request = site.request(HttpMethod::GET, headers, Message::default());
        let listening = within(site.run.plan.spec.timeout, self.link.send(&site.run.dialer, request)).await;
        self.settle(listening.as_ref().err());
        listening
    }

    /// Ends the session, within the plan's timeout. One that was never opened has nothing to end.
    pub(crate) async fn end(&mut self) {
        let Some(opened) = self.opened.take() else { return };
        let site = Arc::clone(&self.site);
        let status = match opened.id {
            Some(_) => within(site.run.plan.spec.timeout, self.delete(opened.headers)).await,
            None => Ok(StatusCode::OK),
        };
        self.settle(status.as_ref().err());
        self.link.cut();
        site.count(|tally| {
            tally.sessions.open -= 1;
            match status {
                Ok(status) if status.is_success() => tally.sessions.ended += 1,
                Ok(StatusCode::METHOD_NOT_ALLOWED) => tally.sessions.end_refused += 1,
                Ok(status) => tally.failures.close.count(Failure::Status(status.as_u16())),
                Err(failure) => tally.failures.close.count(failure),
            }
        });
    }

    async fn delete(&mut self, headers: HeaderMap) -> Result<StatusCode, Failure> {
        let request = self.site.request(HttpMethod::DELETE, headers, Message::default());
        let response = self.link.send(&self.site.run.dialer, request).await?;
        let status = response.status();
        drain(response.into_body()).await?;
        Ok(status)
    }

    pub(crate) async fn post(&mut self, headers: HeaderMap, body: String) -> Result<Response<Incoming>, Failure> {
        let request = self.site.request(HttpMethod::POST, headers, Message::from(Bytes::from(body)));
        self.link.send(&self.site.run.dialer, request).await
    }

    /// Gives up a connection on which more may come, and counts those that were opened anew.
    fn settle(&mut self, failure: Option<&Failure>) {
        if matches!(failure, Some(Failure::Reset | Failure::Timeout | Failure::Malformed)) {
            self.link.cut();
        }
        let reopened = std::mem::take(&mut self.link.reopened);
        if reopened > 0 {
            self.site.count(|tally| tally.sessions.reconnects += reopened);
        }
    }

    /// Leaves the connection to what it is busy with, and takes another, which is no reconnect.
    pub(crate) fn take_other_connection(&mut self) {
        self.link = Link::new(self.site.shared(self.number));
    }

    /// Gives up the connection, so that what the session does next needs a new one.
    pub(crate) fn cut(&mut self) {
        self.link.cut();
    }
}

/// What revision 2026-07-28 wants to know in headers.
fn name_method(headers: &mut HeaderMap, method: Option<&Method>, tool: &str) {
    let Some(method) = method else { return };
    // The plan took no names that cannot be headers.
    if let Ok(value) = HeaderValue::try_from(method.name()) {
        headers.insert(METHOD, value);
    }
    if let (Method::CallTool, Ok(value)) = (method, HeaderValue::try_from(tool)) {
        headers.insert(NAME, value);
    }
}

async fn within<T>(time: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(time, work).await.unwrap_or(Err(Failure::Timeout))
}
