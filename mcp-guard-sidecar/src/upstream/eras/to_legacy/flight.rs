//! A call on its way in a session with a legacy node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{Response, StatusCode};
use mcp_guard::call::{Call, Method};
use mcp_guard::middleware::{UpstreamError, clock};
use mcp_guard::refusal::{Reason, Refusal};
use mcp_guard::reply::same_id;
use mcp_guard::session::{FromNode, SessionId, one_line};
use tokio::time::timeout;

use super::lease::Lease;
use super::node::Node;
use super::request::Introduction;
use super::result;
use super::rounds::{Question, Round};
use crate::upstream::eras::NodeUpstream;
use crate::upstream::eras::answer::{EraBody, Messages};
use crate::upstream::eras::caller::Caller;
use crate::upstream::eras::message::{METHOD_NOT_FOUND, Message, error, response};
use crate::upstream::eras::object::Object;

/// A call whose answer has not come yet. Dropped before it has, it is cancelled, and its session with it.
pub(super) struct Flight<U: NodeUpstream> {
    node: Node<U>,
    /// Until it is given back.
    lease: Option<Lease<U>>,
    /// The id that the node knows the call by, as JSON text.
    id: Box<str>,
    messages: Messages<U::Body>,
}

/// What the client's request says of how it wants to be answered.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) caller: Caller,
    pub(super) call: Arc<Call>,
    pub(super) introduction: Introduction,
}

impl Asker {
    /// The id of its request, as JSON text.
    pub(super) fn id(&self) -> &str {
        self.call.id.as_deref().unwrap_or("null")
    }
}

/// What a node asks so soon behind a question is one round with it: the client answers both at once.
const TOGETHER: Duration = Duration::from_millis(20);

/// What comes next of a call.
enum Step {
    /// A notification.
    Tell(Bytes),
    /// The node asks.
    Ask(Vec<Question>),
    /// The last.
    Answer(StatusCode, Bytes),
}

impl<U: NodeUpstream> Flight<U> {
    pub(super) fn new(node: Node<U>, lease: Lease<U>, id: Box<str>, messages: Messages<U::Body>) -> Self {
        Self { node, lease: Some(lease), id, messages }
    }

    /// The answer to the client, as far as it has come: one message, or a stream if there are more.
    pub(super) async fn respond(mut self, asker: Asker) -> Result<Response<EraBody<U::Body>>, UpstreamError> {
        let first = match self.step(&asker).await? {
            Step::Answer(status, answer) => return Ok(EraBody::json(status, answer)),
            Step::Ask(questions) => return Ok(EraBody::json(StatusCode::OK, self.wait(questions, &asker)?)),
            Step::Tell(message) => message,
        };
        let rest = unfold(Some((self, asker, Some(first))), async |state| {
            let (mut flight, asker, first) = state?;
            if let Some(first) = first {
                return Some((Ok(one_line(first)), Some((flight, asker, None))));
            }
            match flight.step(&asker).await {
                Ok(Step::Tell(message)) => Some((Ok(one_line(message)), Some((flight, asker, None)))),
                Ok(Step::Answer(_, answer)) => Some((Ok(one_line(answer)), None)),
                Ok(Step::Ask(questions)) => Some((flight.wait(questions, &asker).map(one_line), None)),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(EraBody::events(Box::pin(rest)))
    }

    /// Waits for what concerns the client.
    async fn step(&mut self, asker: &Asker) -> Result<Step, UpstreamError> {
        loop {
            let broken = || UpstreamError::Failed("the node ended its answer before the result".into());
            let message = self.messages.next().await.ok_or_else(broken)??;
            match self.take(message, asker).await {
                Some(Step::Ask(mut questions)) => {
                    while let Ok(Some(Ok(message))) = timeout(TOGETHER, self.messages.next()).await {
                        let is_question = matches!(FromNode::read(&message), Some(FromNode::Request { .. }));
                        if !is_question {
                            self.messages.put_back(message);
                            break;
                        }
                        if let Some(Step::Ask(more)) = self.take(message, asker).await {
                            questions.extend(more);
                        }
                    }
                    return Ok(Step::Ask(questions));
                }
                Some(step) => return Ok(step),
                None => {}
            }
        }
    }

    /// What `message` is to the client; `None` if that is nothing.
    async fn take(&mut self, message: Bytes, asker: &Asker) -> Option<Step> {
        // An error without an id is the answer too: there is one call in the session.
        let Some(read) = FromNode::read(&message) else { return self.finish(&message, asker) };
        match read {
            FromNode::Response { id, .. } if same_id(id, &self.id) => self.finish(&message, asker),
            FromNode::Response { .. } => None,
            FromNode::Notification { method, .. } => {
                let is_wanted = match method {
                    r#""notifications/progress""# => true,
                    r#""notifications/message""# => asker.introduction.log_level().is_some(),
                    _ => {
                        self.node.shared.listeners.tell(&asker.caller.identity(), &message);
                        false
                    }
                };
                is_wanted.then_some(Step::Tell(message))
            }
            FromNode::Request { id, .. } => {
                let request = Object::of(&message)?;
                let method = request.string("method")?;
                if asker.introduction.can_answer(&method) {
                    return Some(Step::Ask(vec![Question::new(id, &method, request.object("params"))]));
                }
                let answer = unasked(id, &method);
                self.say(asker, answer).await;
                None
            }
        }
    }

    fn finish(&mut self, message: &[u8], asker: &Asker) -> Option<Step> {
        let server = self.lease.as_ref()?.server();
        if asker.call.method.is(Method::TOOLS_LIST)
            && let Some(result) = Object::of(message).as_ref().and_then(|message| message.get("result"))
        {
            self.node.shared.tools.learn(result);
        }
        let (status, answer) = result::answer(message, asker.id(), &asker.call.method, server)?;
        let mut lease = self.lease.take()?;
        lease.settled();
        lease.give_back();
        Some(Step::Answer(status, answer))
    }

    /// Says something to the node that it need not answer, and whether it has taken it.
    async fn say(&mut self, asker: &Asker, message: Message) -> bool {
        match &self.lease {
            Some(lease) => {
                let request = lease.request(&asker.caller, message);
                self.node.say(request).await
            }
            None => false,
        }
    }

    /// Lets the call wait for the client's answers; gives the message that asks for them.
    fn wait(self, questions: Vec<Question>, asker: &Asker) -> Result<Bytes, UpstreamError> {
        let rounds = &Arc::clone(&self.node.shared).rounds;
        let round = Round::new(self, questions, asker.caller.identity(), &asker.call, clock::now());
        let result = rounds.wait(round).map_err(|refusal| UpstreamError::Refused(Box::new(refusal)))?;
        Ok(response(asker.id(), "result", &result))
    }

    /// Goes on with a call, known by `state`, whose client has answered.
    pub(super) async fn go_on(
        state: SessionId,
        mut round: Round<U>,
        responses: &Object<'_>,
        asker: Asker,
    ) -> Result<Response<EraBody<U::Body>>, UpstreamError> {
        for (id, answer) in round.answered(responses) {
            if !round.flight.say(&asker, Message::response(&id, "result", answer)).await {
                // The client may say it again; what the node has taken it is not asked for any more.
                let node = round.flight.node.clone();
                node.shared.rounds.put_back(state, round);
                let refusal = Refusal::new(Reason::UpstreamUnavailable, "the node does not take the answer now");
                return Err(UpstreamError::Refused(Box::new(refusal.retry_after(Duration::from_secs(1)))));
            }
            round.settle(&id);
        }
        if round.questions.is_empty() {
            return round.flight.respond(asker).await;
        }
        let Round { flight, questions, .. } = round;
        Ok(EraBody::json(StatusCode::OK, flight.wait(questions, &asker)?))
    }
}

/// The answer to a request of the node's that the client cannot answer.
pub(super) fn unasked(id: &str, method: &str) -> Message {
    if method == "ping" {
        return Message::response(id, "result", "{}");
    }
    Message::response(id, "error", &error(METHOD_NOT_FOUND, "the client has not declared that it can answer this"))
}
