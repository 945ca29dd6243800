//! [`Queue`]: holds a place for each request from when it is sent to when its answer ends.

use std::sync::Arc;

use super::gate::Gate;
use super::node_queue::{Shed, Why};
use crate::call::Method;
use crate::middleware::{Answer, Handler, McpRequest};
use crate::refusal::{Reason, Refusal};

/// Lets so many requests through at once, a bounded number wait, and refuses the rest. Made by
/// [`QueueLayer`](super::QueueLayer).
#[derive(Clone, Debug)]
pub struct Queue<H> {
    next: H,
    gate: Gate,
}

impl<H> Queue<H> {
    pub(super) fn new(next: H, gate: Gate) -> Self {
        Self { next, gate }
    }
}

impl<H: Handler> Handler for Queue<H> {
    type Body = H::Body;

    async fn handle(&self, request: McpRequest) -> Answer<H::Body> {
        if !request.call.is_request() {
            return self.next.handle(request).await;
        }
        let call = Arc::clone(&request.call);
        let permit = match self.gate.enter(&call, request.deadline).await {
            Ok(permit) => permit,
            Err(shed) => return Answer::refuse(&refusal(shed), &call),
        };
        let mut answer = self.next.handle(request).await;
        if answer.outcome().is_none() && call.method.is(Method::SUBSCRIPTIONS_LISTEN) {
            // Such a stream stays open for as long as the client likes, and is no work for the node.
            drop(permit);
        } else {
            answer.on_end(move |outcome| permit.settle(&call, outcome));
        }
        answer
    }
}

fn refusal(shed: Shed) -> Refusal {
    let refusal = match shed.why {
        Why::Full => Refusal::new(Reason::QueueFull, "too many calls are waiting for this node"),
        Why::Timeout => Refusal::new(Reason::QueueTimeout, "no place on this node, or at this tool, came free in time"),
    };
    refusal.retry_after(shed.retry_after)
}
