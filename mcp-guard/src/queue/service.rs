//! [`Queue`]: holds a place for each request from when it is sent to when its answer ends.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::{Either, ready};

use super::gate::{Gate, Permit, Word};
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

    fn handle(&self, request: McpRequest) -> impl Future<Output = Answer<H::Body>> + Send {
        if !request.call.is_request() {
            return Either::Right(Either::Right(self.next.handle(request)));
        }
        match self.gate.enter(&request.call) {
            Ok(permit) => Either::Left(self.serve(request, permit)),
            Err(came) => Either::Right(Either::Left(self.wait(&request, came).then(|word| match word {
                Ok(permit) => Either::Left(self.serve(request, permit)),
                Err(shed) => Either::Right(ready(Answer::refuse(&refusal(shed), &request.call))),
            }))),
        }
    }
}

impl<H: Handler> Queue<H> {
    /// Boxed, so that calls which find a place at once do not carry the waiting of others.
    fn wait(&self, request: &McpRequest, came: Instant) -> Pin<Box<dyn Future<Output = Word> + Send>> {
        let (gate, call, deadline) = (self.gate.clone(), Arc::clone(&request.call), request.deadline);
        Box::pin(async move { gate.wait(&call, deadline, came).await })
    }

    fn serve(&self, request: McpRequest, permit: Permit) -> impl Future<Output = Answer<H::Body>> + Send {
        let call = Arc::clone(&request.call);
        self.next.handle(request).map(move |mut answer| {
            if answer.outcome().is_none() && call.method.is(Method::SUBSCRIPTIONS_LISTEN) {
                // Such a stream stays open for as long as the client likes, and is no work for the node.
                drop(permit);
            } else {
                answer.on_end(move |outcome| permit.settle(&call, outcome));
            }
            answer
        })
    }
}

fn refusal(shed: Shed) -> Refusal {
    let refusal = match shed.why {
        Why::Full => Refusal::new(Reason::QueueFull, "too many calls are waiting for this node"),
        Why::Timeout => Refusal::new(Reason::QueueTimeout, "no place on this node, or at this tool, came free in time"),
    };
    refusal.retry_after(shed.retry_after)
}
