//! [`Queue`]: holds a place for each request from when it is sent to when its answer ends.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{Either, Ready, ready};

use super::gate::{Gate, Permit, Word};
use super::node_queue::{Shed, Why};
use super::pressure::Pressure;
use crate::call::Method;
use crate::middleware::{Answer, Handler, McpRequest, clock};
use crate::refusal::{Reason, Refusal};

/// Lets so many requests through at once, a bounded number wait, and refuses the rest. Made by
/// [`QueueLayer`](super::QueueLayer).
#[derive(Clone, Debug)]
pub struct Queue<H> {
    next: H,
    /// In an allocation of its own: each call counts itself in and out there, and a stack for each core does it on its core.
    gate: Arc<Gate>,
    pressure: Pressure,
}

impl<H> Queue<H> {
    pub(super) fn new(next: H, gate: Gate, pressure: Pressure) -> Self {
        Self { next, gate: Arc::new(gate), pressure }
    }
}

impl<H: Handler> Handler for Queue<H> {
    type Body = H::Body;

    fn handle(&self, mut request: McpRequest) -> impl Future<Output = Answer<H::Body>> + Send {
        if self.pressure.refuses(&request.call, request.body.len()) {
            return Either::Right(Either::Left(Either::Right(refuse(&Pressure::refusal(), &request))));
        }
        if !request.call.is_request() {
            return Either::Right(Either::Right(self.next.handle(request)));
        }
        match self.gate.enter(&request.call, request.now) {
            Some(permit) => Either::Left(self.serve(request, permit)),
            None if self.pressure.lets_nobody_wait(&request.call) => {
                Either::Right(Either::Left(Either::Right(refuse(&Pressure::refusal(), &request))))
            }
            None => Either::Right(Either::Left(Either::Left(self.wait(&request).then(|word| match word {
                Ok(permit) => {
                    request.now = clock::now();
                    Either::Left(self.serve(request, permit))
                }
                Err(shed) => Either::Right(refuse(&refusal(shed), &request)),
            })))),
        }
    }
}

impl<H: Handler> Queue<H> {
    /// Boxed, so that calls which find a place at once do not carry the waiting of others.
    fn wait(&self, request: &McpRequest) -> Pin<Box<dyn Future<Output = Word> + Send>> {
        let (gate, call) = (Arc::clone(&self.gate), Arc::clone(&request.call));
        let (deadline, came) = (request.deadline, request.now);
        Box::pin(async move { gate.wait(&call, deadline, came).await })
    }

    fn serve(&self, request: McpRequest, permit: Permit) -> impl Future<Output = Answer<H::Body>> + Send {
        let call = Arc::clone(&request.call);
        self.next.handle(request).map(move |mut answer| {
            if answer.outcome().is_none() && call.method.is(Method::SUBSCRIPTIONS_LISTEN) {
                // Such a stream stays open for as long as the client likes, and is no work for the node.
                drop(permit);
            } else {
                answer.on_end(move |outcome, at| permit.settle(&call, outcome, at));
            }
            answer
        })
    }
}

fn refuse<B>(refusal: &Refusal, request: &McpRequest) -> Ready<Answer<B>> {
    ready(Answer::refuse(refusal, &request.call))
}

fn refusal(shed: Shed) -> Refusal {
    let refusal = match shed.why {
        Why::Full => Refusal::new(Reason::QueueFull, "too many calls are waiting for this node"),
        Why::Timeout => Refusal::new(Reason::QueueTimeout, "no place on this node, or at this tool, came free in time"),
    };
    refusal.retry_after(shed.retry_after)
}
