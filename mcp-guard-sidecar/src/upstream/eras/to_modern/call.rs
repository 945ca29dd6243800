//! One request of a legacy client, until it is answered.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use mcp_guard::call::Method;
use mcp_guard::reply::same_id;
use mcp_guard::session::{FromNode, one_line};

use super::client::Client;
use super::request::{Answers, headers};
use super::{begin, result};
use crate::upstream::eras::NodeUpstream;
use crate::upstream::eras::answer::Messages;
use crate::upstream::eras::message::{Message, error, response};
use crate::upstream::eras::object::{Object, quote};

/// JSON-RPC 2.0, section 5.1: the node's failure.
const INTERNAL_ERROR: i64 = -32603;
/// The code for headers that do not say what the body says.
const HEADER_MISMATCH: &str = "-32020";

/// Rounds of one call. A node that asks on and on is not asked for ever.
const ROUNDS_MAX: usize = 32;

/// Pages of a node's list that are read.
const PAGES_MAX: usize = 64;

impl<U: NodeUpstream> Client<U> {
    /// Answers `initialize`.
    pub(super) async fn begin(&self, id: &str, params: &Object<'_>) -> Bytes {
        match self.ask(Method::SERVER_DISCOVER, "{}").await {
            Ok(discovered) => {
                let discovered = Object::read(&discovered).unwrap_or_default();
                self.note_capabilities(discovered.get("capabilities").unwrap_or("{}"));
                begin::answer(id, params, &discovered)
            }
            Err(error) => response(id, "error", &error),
        }
    }

    /// Asks the node for something that it answers at once: the result, or the error, as JSON text.
    pub(super) async fn ask(&self, method: &str, params: &str) -> Result<String, String> {
        const ID: &str = "\"mcp-guard-0\"";
        let mut messages = self.send(ID, method, &self.introduction().introduce(params, None)).await?;
        while let Some(Ok(message)) = messages.next().await {
            let Some(FromNode::Response { .. }) = FromNode::read(&message) else { continue };
            let message = Object::of(&message).unwrap_or_default();
            return message
                .get("result")
                .map(str::to_owned)
                .ok_or_else(|| message.get("error").unwrap_or("{}").to_owned());
        }
        Err(failure("the node ended its answer before the result"))
    }

    /// The answer to a request, which the client gets; what comes before it the client gets at once.
    pub(super) async fn call(&self, id: &str, method: &str, params: &str) -> Bytes {
        let mut answers: Option<Answers> = None;
        let mut is_told_of_headers = false;
        for _ in 0..ROUNDS_MAX {
            let introduced = self.introduction().introduce(params, answers.as_ref());
            let mut messages = match self.send(id, method, &introduced).await {
                Ok(messages) => messages,
                Err(error) => return response(id, "error", &error),
            };
            let answer = loop {
                match messages.next().await {
                    Some(Ok(message)) => match FromNode::read(&message) {
                        Some(FromNode::Response { id: answered, .. }) if same_id(answered, id) => break message,
                        Some(FromNode::Notification { .. }) => self.tell(message),
                        Some(FromNode::Response { .. } | FromNode::Request { .. }) => {}
                        // An error without an id answers what was sent.
                        None => break message,
                    },
                    Some(Err(error)) => return response(id, "error", &failure(&error.to_string())),
                    None => return response(id, "error", &failure("the node ended its answer before the result")),
                }
            };
            let Some(mut answer) = Object::of(&answer) else {
                return response(id, "error", &failure("the node answered what is no message"));
            };
            let code = answer.object("error").and_then(|error| error.get("code").map(str::to_owned));
            if code.as_deref() == Some(HEADER_MISMATCH) && method == Method::TOOLS_CALL && !is_told_of_headers {
                is_told_of_headers = true;
                self.learn_headers().await;
                continue;
            }
            let result = answer.object("result").unwrap_or_default();
            if result.get("resultType") != Some(r#""input_required""#) {
                answer.set("id", id);
                return one_line(result::answer(answer));
            }
            let asked = self.ask_client(&result.object("inputRequests").unwrap_or_default()).await;
            match asked {
                Ok(responses) => {
                    answers = Some(Answers { responses, state: result.get("requestState").map(str::to_owned) });
                }
                Err(error) => return response(id, "error", &error),
            }
        }
        response(id, "error", &failure("the node asks on and on"))
    }

    /// Sends a request, and waits until its answer begins. The error is JSON text.
    async fn send(&self, id: &str, method: &str, params: &str) -> Result<Messages<U::Body>, String> {
        let mut said = headers(method, params);
        if method == Method::TOOLS_CALL {
            said.extend(self.tools.headers(params));
        }
        let answered = self.send_as(Message::request(id, method, params), said).await?;
        let status = answered.status();
        let (_, messages) = Messages::of(answered).await.map_err(|error| failure(&error.to_string()))?;
        if status.is_success() || messages.has_message() {
            return Ok(messages);
        }
        Err(failure(&format!("the node answered {status}")))
    }

    async fn send_as(&self, message: Message, headers: HeaderMap) -> Result<Response<U::Body>, String> {
        let Some(caller) = self.caller() else { return Err(failure("the guard did not read the request")) };
        let request = caller.request(message, mcp_guard::revision::Revision::V2026_07_28, headers);
        self.upstream.send(request).await.map_err(|error| failure(&error.to_string()))
    }

    /// The stream of what the node says of its own accord, as far as `filter` wants it.
    pub(super) async fn subscribe(&self, filter: &str) -> Option<Messages<U::Body>> {
        let params = self.introduction().introduce(&format!(r#"{{"notifications":{filter}}}"#), None);
        let said = headers(Method::SUBSCRIPTIONS_LISTEN, &params);
        let message = Message::request("\"mcp-guard-listen\"", Method::SUBSCRIPTIONS_LISTEN, &params);
        let answered = self.send_as(message, said).await.ok()?;
        if answered.status() != StatusCode::OK {
            return None;
        }
        Messages::of(answered).await.ok().map(|(_, messages)| messages)
    }

    /// Reads which headers the node's tools want.
    async fn learn_headers(&self) {
        let mut params = "{}".to_owned();
        for _ in 0..PAGES_MAX {
            let Ok(page) = self.ask(Method::TOOLS_LIST, &params).await else { return };
            self.tools.learn(&page);
            let cursor = Object::read(&page).and_then(|page| page.string("nextCursor"));
            let Some(cursor) = cursor else { return };
            params = format!(r#"{{"cursor":{}}}"#, quote(&cursor));
        }
    }
}

/// The error of a call that the node did not answer, as JSON text.
pub(super) fn failure(why: &str) -> String {
    error(INTERNAL_ERROR, why)
}
