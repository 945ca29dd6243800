//! One request of a legacy client, until it is answered.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use mcp_guard::call::Method;
use mcp_guard::middleware::{UpstreamError, clock};
use mcp_guard::reply::same_id;
use mcp_guard::revision::Revision;
use mcp_guard::session::{FromNode, one_line};

use super::client::{Asking, Client};
use super::request::{Answers, headers};
use super::{begin, result};
use crate::upstream::eras::NodeUpstream;
use crate::upstream::eras::answer::{Messages, by};
use crate::upstream::eras::caller::Caller;
use crate::upstream::eras::message::{INTERNAL_ERROR, Message, error, response};
use crate::upstream::eras::object::{Object, quote};

/// The code for headers that do not say what the body says.
const HEADER_MISMATCH: &str = "-32020";

/// Rounds of one call. A node that asks on and on is not asked for ever.
const ROUNDS_MAX: usize = 32;

/// How long a stream may be silent that has begun.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// How long a node may take to begin a stream of what it says of its own accord.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Pages of a node's list that are read.
const PAGES_MAX: usize = 64;

impl<U: NodeUpstream> Client<U> {
    /// Answers `initialize`.
    pub(super) async fn begin(&self, asking: Asking<'_>, params: &Object<'_>) -> Bytes {
        let id = asking.id;
        match self.ask(asking, Method::SERVER_DISCOVER, "{}").await {
            Ok(discovered) => {
                let discovered = Object::read(&discovered).unwrap_or_default();
                self.note_capabilities(discovered.get("capabilities").unwrap_or("{}"));
                begin::answer(id, params, &discovered)
            }
            Err(error) => response(id, "error", &error),
        }
    }

    /// Asks the node for something that it answers at once: the result, or the error, as JSON text.
    async fn ask(&self, asking: Asking<'_>, method: &str, params: &str) -> Result<String, String> {
        let asking = Asking { id: "\"mcp-guard-0\"", ..asking };
        let (status, mut messages) = self.send(asking, method, &self.introduction().introduce(params, None)).await?;
        while let Some(message) = messages.next_by(asking.until).await.map_err(broken)? {
            let Some(FromNode::Response { .. }) = FromNode::read(&message) else { continue };
            let message = answer_of(&message, status)?;
            return message
                .get("result")
                .map(str::to_owned)
                .ok_or_else(|| message.get("error").unwrap_or("{}").to_owned());
        }
        Err(failure("the node ended its answer before the result"))
    }

    /// The answer to a request, which the client gets; what comes before it the client gets at once.
    pub(super) async fn call(&self, asking: Asking<'_>, method: &str, params: &str) -> Bytes {
        self.rounds(asking, method, params).await.unwrap_or_else(|error| response(asking.id, "error", &error))
    }

    /// Goes on until the node asks nothing more. The error is JSON text.
    async fn rounds(&self, asking: Asking<'_>, method: &str, params: &str) -> Result<Bytes, String> {
        let mut answers: Option<Answers> = None;
        let mut is_told_of_headers = false;
        for _ in 0..ROUNDS_MAX {
            let introduced = self.introduction().introduce(params, answers.as_ref());
            let (status, answer) = self.round(asking, method, &introduced).await?;
            let mut answer = answer_of(&answer, status)?;
            let code = answer.object("error").and_then(|error| error.get("code").map(str::to_owned));
            if code.as_deref() == Some(HEADER_MISMATCH) && method == Method::TOOLS_CALL && !is_told_of_headers {
                is_told_of_headers = true;
                self.learn_headers(asking).await;
                continue;
            }
            let result = answer.object("result").unwrap_or_default();
            if result.get("resultType") != Some(r#""input_required""#) {
                answer.set("id", asking.id);
                return Ok(one_line(result::answer(answer)));
            }
            let responses = self.ask_client(&result.object("inputRequests").unwrap_or_default()).await?;
            answers = Some(Answers { responses, state: result.get("requestState").map(str::to_owned) });
        }
        Err(failure("the node asks on and on"))
    }

    /// Sends a request, and waits for its answer. The node's connection is free again behind it.
    async fn round(&self, asking: Asking<'_>, method: &str, params: &str) -> Result<(StatusCode, Bytes), String> {
        let (status, mut messages) = self.send(asking, method, params).await?;
        let mut until = asking.until;
        while let Some(message) = messages.next_by(until).await.map_err(broken)? {
            match FromNode::read(&message) {
                Some(FromNode::Response { id, .. }) if same_id(id, asking.id) => return Ok((status, message)),
                Some(FromNode::Notification { .. }) => {
                    self.pass(message);
                    // The client's own waiting has no end once it was told something.
                    until = clock::now() + SILENCE_MAX;
                }
                Some(FromNode::Response { .. } | FromNode::Request { .. }) => {}
                // An error without an id answers what was sent.
                None => return Ok((status, message)),
            }
        }
        Err(failure(&ended(status)))
    }

    /// Sends a request, and waits until its answer begins. The error is JSON text.
    async fn send(
        &self,
        asking: Asking<'_>,
        method: &str,
        params: &str,
    ) -> Result<(StatusCode, Messages<U::Body>), String> {
        let mut said = headers(method, params);
        if method == Method::TOOLS_CALL {
            said.extend(self.tools.headers(params));
        }
        let message = Message::request(asking.id, method, params);
        let answered = self.read(asking.caller, message, said);
        by(asking.until, answered).await.map_err(broken)
    }

    async fn read(
        &self,
        caller: &Caller,
        message: Message,
        headers: HeaderMap,
    ) -> Result<(StatusCode, Messages<U::Body>), UpstreamError> {
        let response = self.upstream.send(caller.request(message, Revision::V2026_07_28, headers)).await?;
        Messages::of(response).await
    }

    /// The stream of what the node says of its own accord, as far as `filter` wants it.
    pub(super) async fn subscribe(&self, filter: &str) -> Option<Messages<U::Body>> {
        let params = self.introduction().introduce(&format!(r#"{{"notifications":{filter}}}"#), None);
        let said = headers(Method::SUBSCRIPTIONS_LISTEN, &params);
        let message = Message::request("\"mcp-guard-listen\"", Method::SUBSCRIPTIONS_LISTEN, &params);
        let opener = self.opener()?;
        let (status, messages) = by(clock::now() + LISTEN_TIMEOUT, self.read(&opener, message, said)).await.ok()?;
        (status == StatusCode::OK).then_some(messages)
    }

    /// Reads which headers the node's tools want.
    async fn learn_headers(&self, asking: Asking<'_>) {
        let mut params = "{}".to_owned();
        for _ in 0..PAGES_MAX {
            let Ok(page) = self.ask(asking, Method::TOOLS_LIST, &params).await else { return };
            self.tools.learn(&page);
            let cursor = Object::read(&page).and_then(|page| page.string("nextCursor"));
            let Some(cursor) = cursor else { return };
            params = format!(r#"{{"cursor":{}}}"#, quote(&cursor));
        }
    }
}

/// An answer with a result or an error; anything else is a failure that says the status. The error is JSON text.
fn answer_of(message: &[u8], status: StatusCode) -> Result<Object<'_>, String> {
    let answer = Object::of(message).unwrap_or_default();
    let is_answer = answer.get("result").is_some() || answer.object("error").is_some_and(|error| error.has("code"));
    if is_answer { Ok(answer) } else { Err(failure(&ended(status))) }
}

fn ended(status: StatusCode) -> String {
    if status.is_success() {
        "the node ended its answer before the result".into()
    } else {
        format!("the node answered {status}")
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err gives")]
fn broken(error: UpstreamError) -> String {
    failure(&error.to_string())
}

/// The error of a call that the node did not answer, as JSON text.
pub(super) fn failure(why: &str) -> String {
    error(INTERNAL_ERROR, why)
}
